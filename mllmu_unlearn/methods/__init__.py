"""Unlearning methods, one file each. `get("npo")` is a class, `names()` lists them without importing them."""

from mllmu_unlearn.methods._base import Layout, Method, Official, hyper
from mllmu_unlearn.methods._registry import code, get, names, register, source_hash

__all__ = ["Layout", "Method", "Official", "code", "get", "hyper", "names", "register", "source_hash"]
