"""Checkpoints beside the output folder: which there are and are whole, which one to go on from, when they go."""

import json
import shutil
import zipfile
import zlib
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open

from mllmu_tasks import strict_json
from mllmu_tasks.artifacts.folders import remove
from mllmu_tasks.artifacts.weight_files import first_not_finite
from mllmu_tasks.errors import UserError
from mllmu_tasks.user_files import read_text
from mllmu_unlearn.config.commands import Config
from mllmu_unlearn.training import provenance
from mllmu_unlearn.training.plan import Plan

STAMP = "run.json"
NEEDED = ("trainer_state.json", "method_state.pt", "optimizer.pt", "scheduler.pt")
"""Beside weights and random states. Without the middle two, the Trainer would begin them anew and say nothing."""


def checkpoints(folder: Path) -> list[tuple[int, Path]]:
    """(step, folder) of the complete checkpoints, oldest first; staged ones do not count."""
    found = [
        (int(path.name.removeprefix("checkpoint-")), path)
        for path in folder.glob("checkpoint-*")
        if path.name.removeprefix("checkpoint-").isdecimal() and (path / "trainer_state.json").is_file()
    ]
    return sorted(found)


def drop_old(folder: Path, limit: int | None) -> None:
    """Keep the newest `limit` checkpoints; all of them without a limit."""
    if limit:
        for _, old in checkpoints(folder)[:-limit]:
            remove(old)


def resume_from(config: Config, planned: Plan, work: Path) -> Path | None:
    """The checkpoint to go on from; None for a run that is to `begin`.

    A damaged checkpoint is passed over for the one before it. Raises UserError if there is none at all, or if they
    are another run's.
    """
    if not config.resume_from_checkpoint:
        return None
    stamp, wanted = work / STAMP, provenance.identity(config, planned)
    found = [folder for _, folder in checkpoints(work)]
    if config.resume_from_checkpoint is not True:
        found = [Path(config.resume_from_checkpoint)]
        stamp = found[0].parent / STAMP
        if not (found[0] / "trainer_state.json").is_file():
            raise UserError(f"'{found[0]}' is no complete checkpoint; leave the path out to take the newest one.")
    if not found:
        raise UserError(f"there is no complete checkpoint in {work}; leave out --resume_from_checkpoint.")
    before = _stamped(stamp)
    differ = sorted(key for key in wanted if before.get(key) != wanted[key])
    if differ:
        raise UserError(f"the checkpoint is of another run ({', '.join(differ)} differ); leave out resuming.")
    for folder in reversed(found):
        problem = damage(folder)
        if problem is None:
            return folder
        if config.resume_from_checkpoint is not True:
            raise UserError(
                f"'{folder}' is damaged ({problem}); leave the path out to take the newest one that is whole."
            )
        if config.process_index == 0:
            print(f"mllmu: {folder} is damaged ({problem}) and is passed over.")
    return None


def begin(config: Config, planned: Plan, work: Path) -> None:
    """Clear away what an older run left and note whose the next checkpoints are; once nothing hinders this run."""
    if config.should_save:
        found = checkpoints(work)
        if found:
            print(f"mllmu: starting anew; removed {len(found)} checkpoints of an unfinished run in {work}.")
        clear(work)
        work.mkdir(parents=True, exist_ok=True)
        partial = (work / STAMP).with_suffix(".tmp")
        partial.write_text(json.dumps(provenance.identity(config, planned)), encoding="utf-8")
        partial.replace(work / STAMP)


def _stamped(stamp: Path) -> dict[str, Any]:
    """What the run of the checkpoints was; {} if that is not noted. Raises UserError if the note is damaged."""
    try:
        return dict(strict_json.loads(read_text(stamp, f"'{stamp}'"))) if stamp.is_file() else {}
    except (ValueError, TypeError) as error:
        raise UserError(f"'{stamp}' is damaged; leave out --resume_from_checkpoint to start anew.") from error


def clear(work: Path) -> None:
    """Remove checkpoints; what trackers such as TensorBoard write beside them stays."""
    (work / STAMP).unlink(missing_ok=True)  # first: without it no checkpoint is taken for one of a run
    for _, folder in checkpoints(work):
        remove(folder)
    for path in work.glob(".staging-*"):
        shutil.rmtree(path)
    if work.is_dir() and not any(work.iterdir()):
        work.rmdir()


def last_kept(work: Path) -> str:
    found = checkpoints(work)
    return f" Kept {found[-1][1]}; the same command with --resume_from_checkpoint goes on." if found else ""


def require_finite_weights(folder: Path) -> None:
    """Raise UserError if a safetensors file of the folder holds NaN or infinity.

    A finite loss can be followed by a step that is not; what is written is what counts.
    """
    for file in sorted(folder.glob("*.safetensors")):
        if name := first_not_finite(file):
            raise UserError(
                f"the weights are not finite any more ({name}); lower --learning_rate, set --max_grad_norm 1, "
                "or use --dtype float32."
            )


def damage(checkpoint: Path) -> str | None:
    """What is wrong with a checkpoint, `optimizer.pt is cut off` for example; None if nothing is.

    Reads every file once. A run spread over processes (DeepSpeed, FSDP) keeps its states in folders of their own.
    """
    files = sorted(file for file in checkpoint.rglob("*") if file.is_file())
    spread = any(path.is_dir() for path in checkpoint.iterdir())
    needed = NEEDED[:2] if spread else NEEDED
    missing = [name for name in needed if not (checkpoint / name).is_file()]
    if not spread and not any(file.suffix == ".safetensors" for file in files):
        missing.append("a file of weights")
    if missing:
        return f"{missing[0]} is missing"
    return next((f"{file.name} {problem}" for file in files if (problem := _problem(file))), None)


def _problem(file: Path) -> str | None:
    """Of one file of a checkpoint; None too for kinds that nothing is known of."""
    if not file.stat().st_size:
        return "is empty"
    try:
        if file.suffix == ".json" and not isinstance(json.loads(file.read_text(encoding="utf-8")), dict | list):
            return "is no record"
        if file.suffix == ".safetensors":
            with safe_open(file, framework="pt"):
                return None
        if file.suffix in (".pt", ".pth"):
            with zipfile.ZipFile(file) as archive:
                return "is damaged" if archive.testzip() else None
    except (OSError, ValueError, RecursionError, SafetensorError, zipfile.BadZipFile, zlib.error, NotImplementedError):
        return "is damaged"
    return None
