"""Whether processes still run; one that ended and was not waited for does not."""

import time
from pathlib import Path

DEADLINE = 300  # seconds; reached only where something is wrong


def runs(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except (FileNotFoundError, ProcessLookupError):
        return False


def naming(text: str) -> list[int]:
    """Processes whose command line holds the text."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            words = (folder / "cmdline").read_bytes().decode(errors="replace")
        except (FileNotFoundError, ProcessLookupError):
            continue
        if text in words and runs(int(folder.name)):
            found.append(int(folder.name))
    return found


def wait_until(holds) -> None:
    """Wait for what must come; an assertion fails if it does not."""
    end = time.monotonic() + DEADLINE
    while not holds():
        assert time.monotonic() < end, "it never came to hold"
        time.sleep(0.05)
