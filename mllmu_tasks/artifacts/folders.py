"""Output folders and files that are whole or absent: written beside their place, then renamed into it."""

import os
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from mllmu_tasks.artifacts.only_writer import only_writer
from mllmu_tasks.artifacts.record import RECORD, identifies, read_record
from mllmu_tasks.errors import UserError


def check_output(folder: Path, sources: Mapping[str, str | Path | None]) -> None:
    """Raise UserError unless the folder can be written without touching anything that was there before.

    sources: what the run reads, by the flag that names it; what is no path here (a hub id, None) only must not
    bear the folder's own name. A finished folder of ours passes: `check_replacing` decides about that.
    Brings back the old folder if a run was killed between the two renames of `_swap`.
    """
    try:
        _bring_back(folder)
    except OSError as error:  # a name that is too long, a place that may not be looked at
        raise UserError(f"'{folder}' cannot be written ({error.strerror}); choose another folder.") from error
    places = [folder.resolve(), checkpoints_of(folder).resolve()]
    for flag, source in sources.items():
        path = Path(source).resolve() if source else None
        for place in places:
            if path == place or (path is not None and path.exists() and _one_in_the_other(path, place)):
                raise UserError(
                    f"the output '{folder}' and {flag} '{source}' lie in one another, and writing the one would "
                    "destroy the other; choose another folder for the output."
                )
    _check_writable(folder)
    if folder.is_file() or (folder.is_dir() and any(folder.iterdir()) and not (folder / RECORD).is_file()):
        raise UserError(f"'{folder}' exists and was not written by mllmu; choose another folder for the output.")


def check_replacing(folder: Path, record: Mapping[str, Any], remedy: str) -> bool:
    """Whether a finished folder is there that a run with this record may replace, since it repeats it.

    Raises UserError, with the remedy, if the folder holds the work of another run. Runs are the same if their
    method, kind and people are (`identifies`); other hyper-parameters are the usual reason to run again.
    """
    if not (folder / RECORD).is_file():
        return False
    try:
        before = read_record(folder)
        same = identifies(before) == identifies(record)
    except (UserError, AttributeError, TypeError, KeyError):
        before, same = {}, False
    if not same:
        what = f"{before['method']}, {_people(before)}" if before else f"an {RECORD} that is not ours"
        raise UserError(f"'{folder}' holds another run's result ({what}); choose another folder, or {remedy}.")
    return True


def _people(record: Mapping[str, Any]) -> str:
    if record["method"] == "finetune":
        return f"{record['retain']['people']} people"
    return f"forget {len(record['forget']['ids'])} people"


def checkpoints_of(folder: Path) -> Path:
    """Where a run keeps its checkpoints: beside its output."""
    return folder.with_name(f"{folder.name}.checkpoints")


def _one_in_the_other(one: Path, other: Path) -> bool:
    return one.is_relative_to(other) or other.is_relative_to(one)


def _check_writable(folder: Path) -> None:
    """By trying, since permissions alone do not tell; leaves nothing behind."""
    made = [parent for parent in folder.parents if not parent.exists()]
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=f".{folder.name}.", dir=folder.parent):
            pass
    except OSError as error:
        raise UserError(f"'{folder}' cannot be written ({error.strerror}); choose another folder.") from error
    finally:
        for parent in filter(Path.exists, made):
            parent.rmdir()


@contextmanager
def whole_folder(folder: Path, write: bool = True) -> Iterator[Path]:
    """A folder to write into; it takes the place of `folder` when the block ends without an exception.

    The old folder stays until then; an exception or a kill leaves it untouched. write: False on the processes
    that only take part in gathering weights. Raises UserError while another process writes it.
    """
    stage = folder.with_name(f".{folder.name}.staging")
    if not write:
        yield stage
        return
    with only_writer(folder):
        _bring_back(folder)
        shutil.rmtree(stage, ignore_errors=True)
        stage.mkdir()
        try:
            yield stage
            settle(stage)
            _swap(stage, folder)
        finally:
            shutil.rmtree(stage, ignore_errors=True)


def write_whole(file: Path, text: str) -> None:
    """Write a text so that a reader sees the old one or the new one, never a part. Raises UserError if it cannot."""
    work = file.with_name(f".{file.stem[:16]}-{os.getpid()}.tmp")
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        work.write_text(text, encoding="utf-8")
        os.replace(work, file)
    except OSError as error:
        work.unlink(missing_ok=True)
        raise UserError(f"'{file}' cannot be written ({error.strerror}).") from error


def remove(folder: Path) -> None:
    """Delete a folder that must never be met half deleted: renamed to a hidden staging name first."""
    gone = folder.with_name(f".staging-{folder.name}")
    shutil.rmtree(gone, ignore_errors=True)
    os.rename(folder, gone)
    shutil.rmtree(gone)


def settle(folder: Path) -> None:
    """Wait until the files are on the disk. A power cut may otherwise leave the new name with files of zeros."""
    for file in folder.rglob("*"):
        if file.is_file() and not file.is_symlink():
            with file.open("rb") as content:
                os.fsync(content.fileno())


def _swap(new: Path, place: Path) -> None:
    """Put `new` at `place`; between the two renames what was there is at `_old`, whence `_bring_back` takes it."""
    if not place.exists():
        os.rename(new, place)
    else:
        old = _old(place)
        shutil.rmtree(old, ignore_errors=True)
        os.rename(place, old)
        os.rename(new, place)
        shutil.rmtree(old)


def _bring_back(place: Path) -> None:
    """Undo half of a `_swap` in which a process was killed."""
    if not place.exists() and _old(place).exists():
        os.rename(_old(place), place)


def _old(place: Path) -> Path:
    return place.with_name(f".{place.name}.old")
