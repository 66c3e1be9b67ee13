"""A sweep's YAML -> cells: every combination of the grid, each with all of its flags.

base:                                 # flags of `mllmu unlearn`, the same in every cell
  model_name_or_path: models/vanilla
  recipe: "{method}.yaml"             # more of them from a recipe; base and grid override it
  forget_ratio: 5
grid:                                 # lists are alternatives; a list of grids is their union
  method: [npo, grad_diff]
  learning_rate: [1.0e-5, 5.0e-5]
references:                           # rows without unlearning; the first is compared with
  vanilla: models/vanilla
evaluate:                             # leave it out to train only
  tasks: mllmu
  batch_size: 8
"""

import itertools
import json
import math
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

import yaml

from mllmu_tasks import strict_yaml
from mllmu_tasks.artifacts.identity import text_hash
from mllmu_tasks.benchmarks.mini import model_path
from mllmu_tasks.errors import UserError, did_you_mean, quoted, shown
from mllmu_tasks.names import file_name
from mllmu_unlearn import methods
from mllmu_unlearn.recipes import shipped_recipe

KEYS = ("base", "grid", "references", "evaluate")
PATHS_AND_METHOD = ("recipe", "method")
MOST_CELLS = 10_000
LONGEST_NAME = 100


@dataclass(frozen=True)
class Cell:
    """One run. flags: all of `mllmu unlearn` but --output_dir, as they will stand in the cell's recipe."""

    name: str
    flags: dict[str, Any]


@dataclass(frozen=True)
class Evaluation:
    """An lmms-eval command but for the model's path. tasks: default the benchmark of the cells' forget ratio."""

    tasks: str | None = None
    batch_size: int | str = 1
    model: str = "mllmu_hf"
    model_args: str = ""


@dataclass(frozen=True)
class Sweep:
    """references: name -> model. left_out: methods without a recipe, where the grid said `all`."""

    name: str
    cells: tuple[Cell, ...]
    references: dict[str, str] = field(default_factory=dict)
    evaluation: Evaluation | None = None
    left_out: tuple[str, ...] = ()


def read(file: Path) -> Sweep:
    """Raises UserError for anything that is not as described above; flags are checked later, cell by cell."""
    content = _content(file, "the sweep")
    if not isinstance(content, dict) or not content.get("grid"):
        raise UserError(f"'{file}' has no `grid:`; docs/sweeps.md shows what a sweep looks like.")
    _only(content, KEYS, file, "")
    base = _mapping(content.get("base") or {}, file, "base")
    grids = content["grid"] if isinstance(content["grid"], list) else [content["grid"]]
    cells, left_out = [], []
    for grid in grids:
        for place in _combinations(_mapping(grid, file, "grid"), file):
            made = _cell(base, place, file)
            if made is None and grid.get("method") == "all":
                left_out.append(place["method"])
            elif made is None:
                what = place.get("recipe", base.get("recipe"))
                raise UserError(f"there is no recipe '{what}' beside '{file}' or in this package.")
            else:
                cells.append(made)
    if not cells:
        raise UserError(f"'{file}' has no cell: no method of it has a recipe.")
    references = _mapping(content.get("references") or {}, file, "references")
    evaluation = None
    if content.get("evaluate") is not None:
        given = _mapping(content["evaluate"], file, "evaluate")
        _only(given, [f.name for f in fields(Evaluation)], file, "evaluate.")
        evaluation = _evaluation(given, file)
    what = f"the reference of '{file}'"
    references = {file_name(str(name), what): model_path(str(model)) for name, model in references.items()}
    name = file_name(file.stem, "the sweep")
    return Sweep(name, _named_apart(cells, references), references, evaluation, tuple(left_out))


def _content(file: Path, what: str) -> Any:
    return strict_yaml.read(file, f"{what} '{file}'")


def _evaluation(given: Mapping[str, Any], file: Path) -> Evaluation:
    """A list of tasks is as good as a text with commas; everything else is one value."""
    given = {key: value for key, value in given.items() if value is not None}
    if isinstance(given.get("tasks"), list):
        given["tasks"] = ",".join(map(str, given["tasks"]))
    for key, value in given.items():
        if not isinstance(value, int | str if key == "batch_size" else str):
            raise UserError(
                f"`evaluate.{key}` of '{file}' is {shown(value)}; it takes one text, as lmms-eval's flag does."
            )
    return Evaluation(**given)


def text_of(cell: Cell) -> str:
    """The cell as a recipe of `mllmu unlearn --config`."""
    return yaml.safe_dump(cell.flags, sort_keys=False, allow_unicode=True)


def _combinations(grid: Mapping[str, Any], file: Path) -> Iterable[dict[str, Any]]:
    axes = {key: value if isinstance(value, list) else [value] for key, value in grid.items()}
    if grid.get("method") == "all":
        axes["method"] = list(methods.names())
    count = math.prod(map(len, axes.values()))
    if count > MOST_CELLS:
        raise UserError(f"the grid of '{file}' has {count:,} cells; make it {MOST_CELLS:,} at most.")
    for values in itertools.product(*axes.values()):
        yield dict(zip(axes, values, strict=True))


def _cell(base: Mapping[str, Any], place: dict[str, Any], file: Path) -> Cell | None:
    """None if the cell's recipe does not exist."""
    flags = {**base, **place}
    recipe = flags.pop("recipe", None)
    found: dict[str, Any] = {}
    if recipe is not None:
        named = flags.get("method")
        path = _recipe(str(recipe).replace("{method}", methods.get(str(named)).name if named else ""), file)
        if path is None:
            return None
        found = _mapping(_content(path, "the recipe"), path, "")
    flags = {str(k).replace("-", "_"): v for k, v in {**found, **flags}.items()}
    if "method" not in flags:
        raise UserError(f"a cell of '{file}' has no method.")
    if "model_name_or_path" in flags:
        flags["model_name_or_path"] = model_path(str(flags["model_name_or_path"]))
    parts = [methods.get(str(flags["method"])).name]
    parts += [f"{key}-{_short(value)}" for key, value in place.items() if key not in PATHS_AND_METHOD]
    if "recipe" in place:
        parts.append(_short(Path(str(place["recipe"])).stem))
    return Cell(file_name(_bounded("-".join(parts)), f"the cell of '{file}'"), flags)


def _bounded(name: str) -> str:
    """A name of many axes, cut: folders are called so."""
    short = f"{name[:LONGEST_NAME]}-{text_hash(name)[:6]}"
    return name if len(name) <= LONGEST_NAME else short


def _recipe(name: str, file: Path) -> Path | None:
    beside = file.parent / name
    return beside if beside.is_file() else shipped_recipe(name)


def _named_apart(cells: list[Cell], references: Mapping[str, str]) -> tuple[Cell, ...]:
    """Names are folders and rows, so each stands once. Raises UserError for two equal cells."""
    seen: dict[str, str] = dict.fromkeys(references, "")
    apart = []
    for cell in cells:
        text = json.dumps(cell.flags, sort_keys=True, default=str)
        name = cell.name
        if seen.get(name) == text:
            raise UserError(f"the sweep has the cell '{name}' twice.")
        if name in seen:
            name = f"{name}-{text_hash(text)[:6]}"
        seen[name] = text
        apart.append(Cell(name, cell.flags))
    return tuple(apart)


def _short(value: Any) -> str:
    return re.sub(r"[^\w.+-]+", "_", str(value)).strip("_-")[:40]


def _mapping(value: Any, file: Path, what: str) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise UserError(f"{f'`{what}` of ' if what else ''}'{file}' must hold `key: value` lines.")
    return value


def _only(given: Mapping[str, Any], known: Iterable[str], file: Path, where: str) -> None:
    for key in given:
        if key not in known:
            raise UserError(f"{quoted(f'{where}{key}')} in {file} is unknown.{did_you_mean(str(key), known)}")
