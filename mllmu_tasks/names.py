"""Names that become the names of files: one rule for all of them."""

from pathlib import Path

from mllmu_tasks.errors import UserError, quoted

LONGEST = 150
"""Bytes; file systems take 255, and endings and temporary names need room."""
SEPARATORS = "/\\"


def file_name(name: str, what: str) -> str:
    """`name`, if it can name one file or folder inside another. Raises UserError, which calls it `what`, if not."""
    parts = any(separator in name for separator in SEPARATORS)
    if not name or parts or name.startswith(".") or not name.isprintable() or name != name.strip():
        raise UserError(f"{what} {quoted(name)} cannot name a file; use letters, digits, - and _.")
    if len(name.encode()) > LONGEST:
        raise UserError(f"{what} {quoted(name)} is longer than {LONGEST} bytes, too long for the name of a file.")
    return name


def last_part(place: str) -> str:
    """The last name of a folder or a hub id; of `.` and `..` that of the folder they stand for."""
    name = Path(place).name
    return Path(place).resolve().name if name in ("", "..") else name
