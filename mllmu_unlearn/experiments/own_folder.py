"""Output folders of commands that keep many files: written only if they are new, empty, or the same command's."""

from pathlib import Path

from mllmu_tasks.errors import UserError
from mllmu_tasks.user_files import read_text

MARKER = ".mllmu"


def check(folder: Path, command: str) -> None:
    """Raise UserError if the folder holds anything that `command` did not put there. Writes nothing."""
    if not folder.exists():
        return
    if not folder.is_dir():
        raise UserError(f"'{folder}' is a file; choose another --out.")
    marker = folder / MARKER
    made_by = read_text(marker, f"'{marker}'").strip() if marker.exists() else ""
    if made_by != command and any(folder.iterdir()):
        whose = f"belongs to `{made_by}`" if made_by else f"is not empty and was not made by `{command}`"
        raise UserError(f"'{folder}' {whose}; choose another --out.")


def mark(folder: Path, command: str) -> None:
    """Make it the folder of `command`."""
    check(folder, command)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / MARKER).write_text(f"{command}\n", encoding="utf-8")
