"""Checkpoints of a run that are complete: which there are, and when old ones go."""

from pathlib import Path

from mllmu_tasks.artifacts.folders import remove


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
