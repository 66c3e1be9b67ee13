"""The methods by name: this package's, those of a file (`--method path.py:Class`), those of other packages."""

import difflib
import importlib.util
import inspect
import pkgutil
import re
import sys
from importlib import import_module
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from types import ModuleType

from mllmu_tasks.artifacts.identity import file_hash
from mllmu_tasks.errors import UserError, did_you_mean
from mllmu_unlearn.methods._base import Method
from mllmu_unlearn.methods._checks import check_declaration

GROUP = "mllmu.methods"
"""Entry points of this group name a method each: `my_method = "my_package.my_method:MyMethod"`."""
MODULES = "mllmu_external_methods"


_METHODS: dict[str, type[Method]] = {}


def register(cls: type[Method]) -> type[Method]:
    """Enter a method under the name of its file.

    Raises ValueError for a name that is taken, UserError for a mistake in how the class is written.
    """
    name = cls.name or cls.__module__.rpartition(".")[2]
    taken = _METHODS.get(name)
    if taken is not None and (taken.__module__, taken.__qualname__) != (cls.__module__, cls.__qualname__):
        raise ValueError(f"method '{name}' is registered already, by {taken.__module__}.{taken.__qualname__}")
    check_declaration(cls)
    cls.name = name
    _METHODS[name] = cls
    return cls


def names() -> tuple[str, ...]:
    """All methods, by name: this package's, those of other packages, those of files; imports none of them."""
    return tuple(sorted({*_shipped(), *_installed(), *_METHODS}))


def get(name: str) -> type[Method]:
    """The class of a method, by name or as `path.py:Class`. Raises UserError, with the nearest name."""
    place = _split(name)
    if place is not None:
        return _from_file(*place)
    if name not in _METHODS:
        if name in _shipped():
            import_module(f"{__package__}.{name}")
        elif name in (entries := _installed()):
            _from_entry_point(entries[name])
        else:
            near = difflib.get_close_matches(name.lower().replace("-", "_"), names(), n=1)
            hint = f" Did you mean '{near[0]}'?" if near else did_you_mean(name, names())
            raise UserError(f"unknown method '{name}'.{hint}")
    return _METHODS[name]


def _shipped() -> tuple[str, ...]:
    return tuple(m.name for m in pkgutil.iter_modules([str(Path(__file__).parent)]) if m.name[0] != "_")


def _split(name: str) -> tuple[Path, str] | None:
    """(file, class) of `path.py:Class`; None for a plain name. Raises UserError if the class is missing."""
    found = re.fullmatch(r"(.+\.py)(?::(\w*))?", name)
    if found is None:
        return None
    if not found[2]:
        raise UserError(f"which class of {found[1]}? Write --method {found[1]}:CLASS.")
    return Path(found[1]), found[2]


def _from_file(path: Path, name: str) -> type[Method]:
    """The method of a file, registered under the file's name. Raises UserError if there is none."""
    module_name = f"{MODULES}.{path.stem}"
    module = sys.modules.get(module_name)
    if module is None or Path(str(module.__file__)) != path.resolve():
        if not path.is_file():
            raise UserError(f"the method's file '{path}' does not exist.")
        if path.stem in _shipped():
            raise UserError(f"'{path.stem}' is a method of mllmu already; give the file '{path}' another name.")
        module = _execute(path.resolve(), module_name)
    kinds = {n: k for n, k in vars(module).items() if _is_method(k) and k.__module__ == module_name}
    if name not in kinds:
        known = did_you_mean(name, kinds) if kinds else " It has no subclass of mllmu_unlearn.methods.Method."
        raise UserError(f"'{path}' has no method class '{name}'.{known}")
    return register(kinds[name])


def _installed() -> dict[str, EntryPoint]:
    """Name -> entry point of the methods that other packages bring; imports none of them."""
    return {entry.name: entry for entry in entry_points(group=GROUP)}


def _from_entry_point(entry: EntryPoint) -> type[Method]:
    """Raises UserError if the package's method cannot be imported or is called otherwise than its entry point."""
    try:
        kind = entry.load()
    except UserError:
        raise
    except Exception as error:
        raise UserError(
            f"the method '{entry.name}' ({entry.value}) cannot be imported: {type(error).__name__}: {error}; "
            "mend or uninstall the package that brings it."
        ) from error
    if not _is_method(kind):
        raise UserError(
            f"the entry point '{entry.name}' ({entry.value}) is no subclass of mllmu_unlearn.methods.Method."
        )
    if register(kind).name != entry.name:
        raise UserError(f"the entry point '{entry.name}' names a method called '{kind.name}'; they must be equal.")
    return kind


def code(kind: type[Method]) -> dict[str, str] | None:
    """File name and hash of a method from outside, for the record; None for one of this package's."""
    if kind.__module__.startswith(f"{__package__}."):
        return None
    return {"file": Path(inspect.getfile(kind)).name, "sha256": source_hash(kind)}


def source_hash(kind: type[Method]) -> str:
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
        if isinstance(error, UserError):
            raise
        raise UserError(f"the method's file '{path}' does not load: {type(error).__name__}: {error}") from error
    return module


def _is_method(kind: object) -> bool:
    return isinstance(kind, type) and issubclass(kind, Method)
