"""Output folders that are whole or absent: written beside their place, then renamed into it."""

import ctypes
import os
import shutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from mllmu_tasks.errors import UserError

MARK = "unlearning.yaml"
_EXCHANGE = 2  # RENAME_EXCHANGE of renameat2(2)
_HERE = -100  # AT_FDCWD


def check_output(folder: Path) -> None:
    """Raise UserError if the folder holds something that is not ours to replace."""
    if folder.is_file() or (folder.is_dir() and any(folder.iterdir()) and not (folder / MARK).is_file()):
        raise UserError(f"'{folder}' exists and was not written by mllmu; choose another --output_dir.")


@contextmanager
def whole_folder(folder: Path, write: bool = True) -> Iterator[Path]:
    """A folder to write into; it takes the place of `folder` when the block ends without an exception.

    The old folder stays until then; an exception or a kill leaves it untouched. write: False on the processes
    that only take part in gathering weights.
    """
    stage = folder.with_name(f".{folder.name}.staging")
    if write:
        folder.parent.mkdir(parents=True, exist_ok=True)
        shutil.rmtree(stage, ignore_errors=True)
        stage.mkdir()
    try:
        yield stage
        if write:
            _swap(stage, folder)
    finally:
        if write:
            shutil.rmtree(stage, ignore_errors=True)


def _swap(new: Path, place: Path) -> None:
    """Put `new` at `place`; what was there ends up at `new`."""
    if not place.exists():
        os.rename(new, place)
    elif not _exchange(new, place):
        old = place.with_name(f".{place.name}.old")
        shutil.rmtree(old, ignore_errors=True)
        os.rename(place, old)
        os.rename(new, place)
        shutil.rmtree(old)


def _exchange(one: Path, other: Path) -> bool:
    """Swap two paths in one step, where the system can (Linux); False if it cannot."""
    if not sys.platform.startswith("linux"):
        return False
    try:
        swap = ctypes.CDLL(None).renameat2
    except AttributeError:  # a C library without it
        return False
    return swap(_HERE, bytes(one), _HERE, bytes(other), _EXCHANGE) == 0
