"""Python files of the user's that bring a method, a scorer or a benchmark: `path.py:NAME`."""

import importlib.util
import re
import sys
from pathlib import Path
from types import ModuleType

from mllmu_tasks.errors import UserError

MODULES = "mllmu_outside"
"""In front of the module names of what was executed."""


def split_name(text: str) -> tuple[Path, str] | None:
    """(file, name) of `path.py:NAME`; None for a plain name. Raises ValueError if the name is missing."""
    found = re.fullmatch(r"(.+\.py)(?::(\w*))?", text)
    if found is None:
        return None
    if not found[2]:
        raise ValueError(f"'{found[1]}' is a file, and no name in it is given")
    return Path(found[1]), found[2]


def execute(path: Path, what: str) -> ModuleType:
    """The module of a file. what: the word for what it brings, "scorer". Raises UserError if it does not load."""
    if not path.is_file():
        raise UserError(f"the {what}'s file '{path}' does not exist.")
    name = f"{MODULES}.{what}.{path.stem}"
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None or spec.loader is None:
        raise UserError(f"the {what}'s file '{path}' is no Python file; give one that ends in .py.")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module  # dataclasses look their module up there
    try:
        spec.loader.exec_module(module)
    except Exception as error:
        del sys.modules[name]
        raise UserError(f"the {what}'s file '{path}' does not load: {type(error).__name__}: {error}") from error
    return module
