"""Which benchmarks there are: those of this package, of other packages, and of a folder.

One that another package brings is an entry point of the group `mllmu.benchmarks` (`toy = "toy:BENCHMARK"`). One in a
folder is found by MLLMU_BENCHMARKS (folders, with `:` between), holds `BENCHMARK` in its `__init__.py`, and is called
as its folder is. Nothing is imported before its name is asked for.
"""

import functools
import importlib
import importlib.util
import os
import sys
from collections.abc import Mapping
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mllmu_tasks.benchmarks.vocabulary import Leaf, Vocabulary
from mllmu_tasks.errors import UserError, did_you_mean, quoted
from mllmu_tasks.shipped import shipped

if TYPE_CHECKING:
    from mllmu_tasks.benchmarks.base import Benchmark

SHIPPED = {
    "mllmu": "mllmu_tasks.benchmarks.mllmu.benchmark",
}
"""Name -> module with BENCHMARK. The first is the one on which the training commands work."""
GENERATORS = {"mini": "mllmu_tasks.benchmarks.mini"}
"""What `<name>:<model>` stands for: modules with `checkpoint(model)`."""
GROUP = "mllmu.benchmarks"
VARIABLE = "MLLMU_BENCHMARKS"
MODULES = "_mllmu_benchmark_"
TASKS = "task_yamls"


def benchmark(name: str) -> "Benchmark":
    """Raises UserError, with the nearest name, for one that there is not."""
    where = _places()
    if name not in where:
        raise UserError(f"there is no benchmark {quoted(name)}.{did_you_mean(name, where)}")
    return load(where[name])


def default_benchmark() -> "Benchmark":
    return benchmark(next(iter(SHIPPED)))


def benchmarks() -> list["Benchmark"]:
    return [benchmark(name) for name in _places()]


def leaf_of(task: str) -> Leaf:
    """The leaf of a task name. Raises ValueError for a task of others."""
    for name in _places():
        if task.startswith(f"{name}_"):
            try:
                return benchmark(name).parse(task)
            except ValueError:
                continue
    raise ValueError(f"'{task}' is no leaf task of {', '.join(_places())}")


def is_leaf(task: str) -> bool:
    try:
        leaf_of(task)
    except ValueError:
        return False
    return True


def official_settings(task: str, architecture: str) -> Mapping[str, Any]:
    """Generation settings of `prompt_style=official` that differ on a kind of model; {} for a task of others."""
    if not is_leaf(task):
        return {}
    leaf = leaf_of(task)
    return benchmark(leaf.benchmark).official_settings(leaf, architecture)


def task_folder(name: str) -> Path:
    """Where the task YAMLs of a benchmark are. Imports no benchmark. Raises UserError for one that is not there."""
    return _task_folder(_places()[name])


def task_folders() -> list[Path]:
    """Of all benchmarks, each folder once."""
    return list(dict.fromkeys(map(task_folder, _places())))


def model_path(name: str) -> str:
    """`mini:vanilla` -> the folder of that shipped model; any other name as it is. Raises UserError."""
    generator, colon, model = name.partition(":")
    if not colon or generator not in GENERATORS:
        return name
    return str(importlib.import_module(GENERATORS[generator]).checkpoint(model))


def _places() -> dict[str, str | Path | EntryPoint]:
    """Name -> module, folder or entry point, those of this package first. Raises UserError for a name taken twice."""
    found: dict[str, Any] = dict(SHIPPED)
    for name, place in [*_in_folders(os.environ.get(VARIABLE, "")), *_in_packages()]:
        if name in found:
            raise UserError(f"two benchmarks are called {quoted(name)}; rename one, or take it out of {VARIABLE}.")
        found[name] = place
    return found


def _in_folders(setting: str) -> list[tuple[str, Path]]:
    folders = [Path(part.strip()).absolute() for part in setting.split(os.pathsep) if part.strip()]
    for folder in folders:
        if not (folder / "__init__.py").is_file():
            raise UserError(f"{VARIABLE}: {quoted(folder)} holds no __init__.py; name the folder of a benchmark.")
    return [(folder.name, folder) for folder in folders]


@functools.cache
def _in_packages() -> tuple[tuple[str, EntryPoint], ...]:
    return tuple((point.name, point) for point in entry_points(group=GROUP))


@functools.cache
def load(place: str | Path | EntryPoint) -> "Benchmark":
    """The benchmark of a module, a folder or an entry point. Raises UserError if it holds none of that name."""
    if isinstance(place, str):
        return importlib.import_module(place).BENCHMARK
    try:
        value = place.load() if isinstance(place, EntryPoint) else _import(place).BENCHMARK
    except Exception as error:  # whatever a stranger's module stumbles over
        raise UserError(f"the benchmark of '{place}' cannot be loaded ({type(error).__name__}: {error}).") from error
    if not isinstance(value, Vocabulary) or value.name != place.name:
        raise UserError(f"BENCHMARK of '{place}' is no Benchmark called '{place.name}'; name it as its folder.")
    return value


def _import(folder: Path) -> Any:
    name = MODULES + folder.name
    spec = importlib.util.spec_from_file_location(
        name, folder / "__init__.py", submodule_search_locations=[str(folder)]
    )
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module


def _task_folder(place: str | Path | EntryPoint) -> Path:
    if isinstance(place, str):
        return shipped(TASKS)
    if isinstance(place, EntryPoint):
        spec = importlib.util.find_spec(place.module)
        if spec is None or not spec.origin:
            raise UserError(f"the benchmark '{place.name}' of {place.module} is not installed; install its package.")
        place = Path(spec.origin).parent
    folder = place / TASKS
    if not folder.is_dir():
        raise UserError(f"'{folder}' is not there; write it with `mllmu tasks --write --benchmark {place}`.")
    return folder
