"""Imports between the rooms: which way they may point, read out of the source of both packages."""

import ast
from collections.abc import Iterator
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

import mllmu_tasks
import mllmu_unlearn

PACKAGES = {package.__name__: Path(package.__file__).parent for package in (mllmu_tasks, mllmu_unlearn)}
FLOORS = (
    ("mllmu_unlearn.cli",),
    ("mllmu_unlearn.experiments",),
    ("mllmu_unlearn.training",),
    ("mllmu_unlearn.config", "mllmu_unlearn.output"),
    ("mllmu_unlearn.methods",),
    ("mllmu_unlearn.toolbox",),
    ("mllmu_tasks.results",),
    ("mllmu_tasks.harness",),
    ("mllmu_tasks.scorers",),
    ("mllmu_tasks.models",),
    ("mllmu_tasks.benchmarks", "mllmu_tasks.data", "mllmu_tasks.artifacts"),
)
"""From the top down: a room imports its own floor and those below it."""
NEVER = {
    "mllmu_tasks.results": ("mllmu_tasks.benchmarks", "mllmu_tasks.models", "mllmu_tasks.harness"),
}
"""Rooms below another that it must not know all the same."""
STILL_WRONG: set[tuple[str, str]] = set()
"""(module, what it imports): to be mended. A line may go and none may come: a line without its import fails."""

STILL_CIRCULAR: tuple[tuple[str, str], ...] = ()
"""Likewise: imports inside functions that close a circle."""


def _modules() -> dict[str, Path]:
    found = {}
    for name, folder in PACKAGES.items():
        for file in folder.rglob("*.py"):
            parts = file.relative_to(folder).with_suffix("").parts
            found[".".join((name, *(part for part in parts if part != "__init__")))] = file
    return found


MODULES = _modules()


def _imports(module: str, *, top_only: bool) -> Iterator[str]:
    """Our modules that a module imports: at its top, or anywhere in it; not those for type checkers alone."""
    yield from _of(ast.parse(MODULES[module].read_text(encoding="utf-8")), top_only)


def _of(node: ast.AST, top_only: bool) -> Iterator[str]:
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.Import):
            yield from (alias.name for alias in child.names if alias.name in MODULES)
        elif isinstance(child, ast.ImportFrom):
            assert not child.level, "imports name the package"
            inner = [f"{child.module}.{alias.name}" for alias in child.names]
            yield from (name if name in MODULES else child.module for name in inner if child.module in MODULES)
        elif isinstance(child, ast.If) and ast.unparse(child.test) == "TYPE_CHECKING":
            continue
        elif not (top_only and isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef)):
            yield from _of(child, top_only)


def _floor(module: str) -> int | None:
    rooms = ((n, room) for n, floor in enumerate(FLOORS) for room in floor)
    return next((n for n, room in rooms if f"{module}.".startswith(f"{room}.")), None)


def _points_down(module: str, imported: str) -> bool:
    if module.startswith("mllmu_tasks") and imported.startswith("mllmu_unlearn"):
        return False
    if any(f"{module}.".startswith(f"{room}.") and imported.startswith(others) for room, others in NEVER.items()):
        return False
    here, there = _floor(module), _floor(imported)
    return here is None or there is None or here <= there


def test_every_import_points_down():
    pairs = {(module, name) for module in MODULES for name in _imports(module, top_only=False)}
    wrong = {pair for pair in pairs if not _points_down(*pair)}
    assert wrong - STILL_WRONG == set()
    assert STILL_WRONG - wrong == set(), "mended: take these lines out"


@pytest.mark.parametrize("top_only", [True, False], ids=["at import time", "inside functions too"])
def test_there_is_no_circle_of_imports(top_only):
    graph = {module: set(_imports(module, top_only=top_only)) - {module} for module in MODULES}
    for module, imported in STILL_CIRCULAR if not top_only else ():
        graph[module].remove(imported)
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        pytest.fail(" <- ".join(error.args[1]))


def test_the_walk_sees_imports_inside_functions_and_skips_those_for_type_checkers():
    inside = ast.parse(
        "from typing import TYPE_CHECKING\n"
        "if TYPE_CHECKING:\n    from mllmu_tasks.results.runs import Run\n"
        "def late():\n    from mllmu_tasks import errors\n"
    )
    assert list(_of(inside, False)) == ["mllmu_tasks.errors"]
    assert list(_of(inside, True)) == []
