"""What training runs left: losses over the steps, time, memory. Reads `unlearning.yaml`, or a checkpoint's log."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from mllmu_tasks import strict_json, strict_yaml
from mllmu_tasks.artifacts.record import RECORD
from mllmu_tasks.errors import UserError
from mllmu_tasks.user_files import read_text

STATE = "trainer_state.json"


@dataclass(frozen=True)
class Training:
    """One training run. losses: `step`, `loss` and one column a term, of equal length; {} if there is no curve.

    seconds, peak_memory_mib, device: None or "" where the run did not record them. record: all of unlearning.yaml.
    """

    name: str
    folder: Path
    losses: dict[str, list] = field(default_factory=dict)
    seconds: float | None = None
    peak_memory_mib: float | None = None
    device: str = ""
    record: dict = field(default_factory=dict)

    @property
    def terms(self) -> dict[str, list]:
        """The terms of the loss; the loss itself if it has but one."""
        found = {name.removeprefix("loss_"): v for name, v in self.losses.items() if name.startswith("loss_")}
        return found or {name: v for name, v in self.losses.items() if name == "loss"}


def load_training(paths: Sequence[Path]) -> list[Training]:
    """Every training run at or one level below the given folders, by name. Raises UserError."""
    found: dict[Path, Training] = {}
    for path in paths:
        folders = [path, *sorted(p for p in path.iterdir() if p.is_dir())] if path.is_dir() else []
        here = [(folder, training) for folder in folders if (training := _read(folder))]
        if not here:
            raise UserError(f"--training '{path}' holds no {RECORD} and no checkpoint of a training run.")
        found |= dict(here)
    return list(found.values())


def _read(folder: Path) -> Training | None:
    if (folder / RECORD).is_file():
        return _finished(folder)
    checkpoints = [p for p in folder.glob("checkpoint-*") if p.name.removeprefix("checkpoint-").isdecimal()]
    states = [p / STATE for p in checkpoints if (p / STATE).is_file()]
    if not states:
        return None
    newest = max(states, key=lambda file: int(file.parent.name.removeprefix("checkpoint-")))
    return Training(f"{folder.name.removesuffix('.checkpoints')} (unfinished)", folder, _columns(newest))


def _finished(folder: Path) -> Training:
    file = folder / RECORD
    try:
        record = dict(strict_yaml.read(file, f"'{file}'"))
        training = dict(record["training"])
        losses = {str(name): list(values) for name, values in (training.get("losses") or {}).items()}
        seconds, memory = training.get("seconds"), training.get("peak_memory_mib")
        numbers = {key: None if value is None else float(value) for key, value in (("s", seconds), ("m", memory))}
    except (KeyError, TypeError, ValueError, AttributeError, OSError) as error:
        raise UserError(f"'{file}' is no record of a training run ({error}).") from error
    if len({len(values) for values in losses.values()}) > 1:
        raise UserError(f"'{file}': the columns of 'losses' differ in length.")
    device = str(training.get("device") or "")
    return Training(folder.resolve().name, folder, losses, numbers["s"], numbers["m"], device, record)


def _columns(file: Path) -> dict[str, list]:
    """The log of a checkpoint of transformers' Trainer as columns."""
    try:
        entries = [e for e in strict_json.loads(read_text(file, f"'{file}'"))["log_history"] if "loss" in e]
        names = sorted({name for entry in entries for name in entry if name.startswith("loss")})
        return {name: [entry.get(name) for entry in entries] for name in ("step", *names)} if entries else {}
    except (ValueError, KeyError, TypeError, OSError) as error:
        raise UserError(f"'{file}' is no log of transformers' Trainer ({error}).") from error
