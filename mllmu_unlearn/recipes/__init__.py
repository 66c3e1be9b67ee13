"""Recipes: YAML files of flags, known by name: `npo`, `mini/npo`, `official/npo`; `sweeps/mini_methods` is a grid."""

import difflib
from pathlib import Path

from mllmu_tasks.errors import UserError

FOLDER = Path(__file__).parent


def recipe_names() -> tuple[str, ...]:
    """All names: those for models of the paper's size first, then the folders."""
    found = (path.relative_to(FOLDER).with_suffix("") for path in FOLDER.rglob("*.yaml"))
    return tuple(path.as_posix() for path in sorted(found, key=lambda path: (len(path.parts), path)))


def shipped_recipe(name: str) -> Path | None:
    """The file of a recipe of this package, or None."""
    return FOLDER / f"{name}.yaml" if name in recipe_names() else None


def find_recipe(name: str) -> Path:
    """A file of the user's, or the shipped recipe of that name. Raises UserError with the nearest name."""
    if Path(name).exists():
        return Path(name)
    path = shipped_recipe(name)
    if path is None:
        near = difflib.get_close_matches(name, recipe_names(), n=1)
        hint = f"Did you mean '{near[0]}'?" if near else "`mllmu recipes` lists the recipes."
        raise UserError(f"there is no file and no recipe '{name}'. {hint}")
    return path


def describe_recipe(path: Path) -> str:
    """The first comment of a recipe, in one line."""
    first = path.read_text(encoding="utf-8").split("\n", 1)[0]
    return first.removeprefix("#").strip() if first.startswith("#") else ""
