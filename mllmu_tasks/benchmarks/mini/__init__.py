"""The embedded mini benchmark: drawn people in the layout of the hub data set, and models that know them."""

from pathlib import Path

from mllmu_tasks.errors import UserError, did_you_mean

CHECKPOINTS = ("base", "vanilla", "retain_only")
PREFIX = "mini:"
"""`mini:vanilla` in the place of a model's name is a shipped model of the mini benchmark."""


def data_folder() -> Path:
    """The embedded data: 60 people and 12 celebrities of seed 0."""
    return Path(__file__).parent / "data"


def checkpoint(name: str) -> Path:
    """The folder of a shipped model. Raises UserError for one that is not in this installation."""
    if name not in CHECKPOINTS:
        raise UserError(f"no model '{name}' of the mini benchmark.{did_you_mean(name, CHECKPOINTS)}")
    folder = Path(__file__).parent / "checkpoints" / name
    if not (folder / "config.json").is_file():
        raise UserError(f"the trained model '{name}' is not shipped with this version; train it with --from-scratch.")
    return folder


def model_path(name: str) -> str:
    """`mini:vanilla` -> the folder of that shipped model; any other name as it is. Raises UserError."""
    return str(checkpoint(name.removeprefix(PREFIX))) if name.startswith(PREFIX) else name


def write(out: Path, people: int = 60, seed: int = 0, celebrities: int = 12) -> None:
    """Make a mini benchmark under `out`, which must not exist; see `mllmu_tasks.benchmarks.mini.layout`."""
    from mllmu_tasks.benchmarks.mini.layout import write as write_all

    write_all(out, people=people, seed=seed, celebrities=celebrities)
