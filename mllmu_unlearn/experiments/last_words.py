"""What a command said last, from the end of its log: our own error, or the exception of a stack trace."""

import os
import re
from pathlib import Path

from mllmu_tasks.errors import escape_line

TAIL = 2**18
"""Bytes that are read, from the end."""
SHOWN = 300  # characters
OURS = "mllmu: error:"
TRACE = "Traceback (most recent call last):"
_EXCEPTION = re.compile(r"(?:[A-Za-z_]\w*\.)*[A-Z]\w*(?::.*)?")
_WRAPPERS = ("tenacity.RetryError", "RetryError")
"""Exceptions that only say that another one was raised, which stands in the trace before theirs."""
_COLOUR = re.compile(r"\x1b\[[0-9;]*m")


def last_words(log: Path) -> str:
    """One line, without control characters: our error, the last exception of a trace, else the last line there is."""
    lines = _tail(log)
    ours = next((line for line in reversed(lines) if OURS in line), None)
    if ours:
        return _clean(ours[ours.index(OURS) :])  # a progress bar may stand on the same line
    raised = _raised(lines)
    return _clean(raised or next((line for line in reversed(lines) if line.strip()), "it printed nothing"))


def exception_of(log: Path) -> str:
    """Type and message of the last exception whose trace is in the log; empty without one."""
    return _clean(_raised(_tail(log)))


def _raised(lines: list[str]) -> str:
    """The line that ends a trace: the first behind its head that is not indented."""
    found, inside = [], False
    for line in lines:
        if TRACE in line:
            inside = True
        elif inside and line[:1].strip() and _EXCEPTION.fullmatch(line.strip()):
            found.append(line.strip())
            inside = False
    telling = [line for line in found if not line.startswith(_WRAPPERS)]
    return (telling or found or [""])[-1]


def _tail(log: Path) -> list[str]:
    try:
        with log.open("rb") as file:
            size = file.seek(0, os.SEEK_END)
            file.seek(max(0, size - TAIL))
            return file.read().decode("utf-8", errors="replace").split("\n")
    except FileNotFoundError:
        return []


def _clean(line: str) -> str:
    return escape_line(" ".join(_COLOUR.sub("", line).split()), SHOWN)
