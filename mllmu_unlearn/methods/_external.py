"""Methods from outside this package: a file (`--method path.py:Class`) or an entry point of another package."""

import importlib.util
import inspect
import re
import sys
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from types import ModuleType

from mllmu_tasks.artifacts.identity import file_hash
from mllmu_tasks.errors import UserError, did_you_mean
from mllmu_unlearn.methods import _base
from mllmu_unlearn.methods._checks import check_declaration

GROUP = "mllmu.methods"
"""Entry points of this group name a method each: `my_method = "my_package.my_method:MyMethod"`."""
MODULES = "mllmu_external_methods"


def split(name: str) -> tuple[Path, str] | None:
    """(file, class) of `path.py:Class`; None for a plain name. Raises UserError if the class is missing."""
    found = re.fullmatch(r"(.+\.py)(?::(\w*))?", name)
    if found is None:
        return None
    if not found[2]:
        raise UserError(f"which class of {found[1]}? Write --method {found[1]}:CLASS.")
    return Path(found[1]), found[2]


def from_file(path: Path, name: str, shipped: tuple[str, ...]) -> type["_base.Method"]:
    """The method of a file, registered under the file's name. Raises UserError if there is none.

    shipped: names of this package's own methods, which a file must not take.
    """
    module_name = f"{MODULES}.{path.stem}"
    module = sys.modules.get(module_name)
    if module is None or Path(str(module.__file__)) != path.resolve():
        if not path.is_file():
            raise UserError(f"the method's file '{path}' does not exist.")
        if path.stem in shipped:
            raise UserError(f"'{path.stem}' is a method of mllmu already; give the file '{path}' another name.")
        module = _execute(path.resolve(), module_name)
    kinds = {n: k for n, k in vars(module).items() if _is_method(k) and k.__module__ == module_name}
    if name not in kinds:
        known = did_you_mean(name, kinds) if kinds else " It has no subclass of mllmu_unlearn.methods.Method."
        raise UserError(f"'{path}' has no method class '{name}'.{known}")
    return _checked(kinds[name])


def installed() -> dict[str, EntryPoint]:
    """Name -> entry point of the methods that other packages bring; imports none of them."""
    return {entry.name: entry for entry in entry_points(group=GROUP)}


def from_entry_point(entry: EntryPoint) -> type["_base.Method"]:
    """Raises UserError if the package's method cannot be imported or is called otherwise than its entry point."""
    try:
        kind = entry.load()
    except Exception as error:
        raise UserError(
            f"the method '{entry.name}' ({entry.value}) cannot be imported: {type(error).__name__}: {error}; "
            "mend or uninstall the package that brings it."
        ) from error
    if not _is_method(kind):
        raise UserError(
            f"the entry point '{entry.name}' ({entry.value}) is no subclass of mllmu_unlearn.methods.Method."
        )
    if _checked(kind).name != entry.name:
        raise UserError(f"the entry point '{entry.name}' names a method called '{kind.name}'; they must be equal.")
    return kind


def code(kind: type["_base.Method"]) -> dict[str, str] | None:
    """File name and hash of a method from outside, for the record; None for one of this package's."""
    if kind.__module__.startswith(f"{__package__}."):
        return None
    return {"file": Path(inspect.getfile(kind)).name, "sha256": source_hash(kind)}


def source_hash(kind: type["_base.Method"]) -> str:
    """sha256 of the file that holds a method."""
    return file_hash(Path(inspect.getfile(kind)))


def _execute(path: Path, module_name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(module_name, path)
    module = importlib.util.module_from_spec(spec)
    sys.modules[module_name] = module  # dataclasses look their module up there
    try:
        spec.loader.exec_module(module)
    except Exception as error:
        del sys.modules[module_name]
        raise UserError(f"the method's file '{path}' does not load: {type(error).__name__}: {error}") from error
    return module


def _is_method(kind: object) -> bool:
    return isinstance(kind, type) and issubclass(kind, _base.Method)


def _checked(kind: type["_base.Method"]) -> type["_base.Method"]:
    """Registered and complete. Raises UserError."""
    check_declaration(kind)
    return _base.register(kind)
