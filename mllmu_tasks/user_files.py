"""Files that users name: regular ones of a bounded size, so that nothing waits for a pipe or fills the memory."""

import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from mllmu_tasks.errors import UserError

MOST_BYTES = 16 * 2**20
"""Of what people or our own commands write: recipes, policies, records, lists of ids."""


@contextmanager
def open_regular(file: Path, source: str) -> Iterator[BinaryIO]:
    """The bytes of a user's file. Raises UserError, which calls it `source`, for what is none or cannot be read."""
    try:
        # a pipe that nobody writes to would otherwise block the opening
        handle = os.open(file, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0))
        with open(handle, "rb") as content:
            if not stat.S_ISREG(os.fstat(content.fileno()).st_mode):
                raise UserError(f"{source} is a pipe or a device, not a file; save its content to a file.")
            yield content
    except OSError as error:
        raise UserError(f"{source} cannot be read: {error.strerror or error}.") from error
    except ValueError as error:  # a NUL in the name
        raise UserError(f"{source} cannot be read: {error}.") from error


def read_text(file: Path, source: str, most: int = MOST_BYTES) -> str:
    """The text of a user's file. Raises UserError if it cannot be read, is too large or is not UTF-8."""
    with open_regular(file, source) as content:
        data = content.read(most + 1)
    if len(data) > most:
        raise UserError(f"{source} has more than {most:,} bytes; give one that was made for this.")
    try:
        return data.decode("utf-8").replace("\r\n", "\n").replace("\r", "\n")
    except UnicodeDecodeError as error:
        raise UserError(f"{source} is no text in UTF-8 (byte {error.start}); save it as UTF-8.") from error
