"""How a bad input ends: one sentence with the remedy, no stack trace, exit code 2.

A mistake of ours ends so too; its trace goes to a file, which the sentence names.
"""

import difflib
import functools
import os
import reprlib
import sys
import threading
from collections.abc import Callable, Iterable
from typing import Any, NoReturn, TypeVar

from mllmu_tasks.traces import keep_trace

LONGEST_MESSAGE, LONGEST_VALUE = 1500, 120  # characters; what is longer loses its middle
_SAID = threading.Lock()
"""Taken for good by the first thread beside the main one that ends the run: four of them score at a time."""

F = TypeVar("F", bound=Callable)


class UserError(Exception):
    """Something the user can mend. The message is one sentence that names the remedy.

    It may quote what comes from outside, so it is made one line of bounded length without control characters.
    """

    def __init__(self, message: str) -> None:
        super().__init__(escape_line(message, LONGEST_MESSAGE))


def escape_line(text: str, limit: int = LONGEST_VALUE) -> str:
    """Fit for a terminal: white space becomes a blank, other unprintable characters are escaped (`\\x1b`), and what is
    longer than `limit` loses its middle.
    """
    text = _shortened(text, limit)
    if text.isprintable():
        return text
    escaped = "".join(" " if c.isspace() else c if c.isprintable() else ascii(c)[1:-1] for c in text)
    return _shortened(escaped, 2 * limit)


def _shortened(text: str, limit: int) -> str:
    if len(text) <= limit:
        return text
    left_out = f" [{len(text) - limit:,} characters left out] "
    return text[: limit * 2 // 3] + left_out + text[len(text) - limit // 3 :]


class _Short(reprlib.Repr):
    def __init__(self) -> None:
        super().__init__()
        self.maxlevel, self.maxstring, self.maxother = 2, LONGEST_VALUE, LONGEST_VALUE

    def repr_int(self, x: int, level: int) -> str:
        digits = int(x.bit_length() * 0.30103) + 1
        return repr(x) if digits < LONGEST_VALUE else f"a number of about {digits:,} digits"


def quoted(value: Any) -> str:
    """A user's value within quotes, as it may stand in a message: wherever it may be long, so that the sentence
    around it keeps its words.
    """
    return f"'{escape_line(os.fspath(value))}'" if _is_text(value) else f"'{shown(value)}'"


def shown(value: Any) -> str:
    """Likewise, but only a text stands in quotes: where its type is what is wrong."""
    return quoted(value) if _is_text(value) else escape_line(_Short().repr(value))


def _is_text(value: Any) -> bool:
    return isinstance(value, str | os.PathLike)


def stop(error: UserError | str) -> NoReturn:
    """Print one line and leave with exit code 2.

    For code that lmms-eval calls: an ordinary exception there is retried five times, printed twice and
    ends with exit code 0; SystemExit passes through at once, out of its scoring threads too.
    """
    if threading.current_thread() is threading.main_thread() or _SAID.acquire(blocking=False):
        print_error(error)
    raise SystemExit(2)


def print_error(error: UserError | str) -> None:
    """The one line that ends a command or a run which failed."""
    print(f"mllmu: error: {escape_line(str(error), LONGEST_MESSAGE)}", file=sys.stderr, flush=True)


def reason_of(error: BaseException, most: int = 300) -> str:
    """What an exception says, on one line of bounded length; its type where it says nothing."""
    said = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
    return " ".join(said.split())[:most] or type(error).__name__


def typed_reason_of(error: BaseException) -> str:
    """Likewise behind its type: of what libraries raise, whose words alone often say little ("'0'")."""
    said = reason_of(error)
    name = type(error).__name__
    return name if said == name else f"{name}: {said}"


def unforeseen(error: BaseException) -> str:
    """One line about an exception that is no UserError, and where its trace is."""
    said = typed_reason_of(error).rstrip(".")
    file = keep_trace(error)
    kept = f"the trace is in '{file}', please report it with your command" if file else "see the trace above"
    if isinstance(error, ImportError):
        return f"a package that mllmu needs is missing or broken ({said}); install mllmu again with pip ({kept})."
    return f"{said}. This was not foreseen; {kept}."


def ends_the_run(function: F) -> F:
    """For what lmms-eval calls: whatever goes wrong in it ends the process with one line and exit code 2."""

    @functools.wraps(function)
    def wrapped(*args: Any, **kwargs: Any) -> Any:
        try:
            return function(*args, **kwargs)
        except UserError as error:
            stop(error)
        except Exception as error:  # lmms-eval would retry it, and leave with exit code 0
            stop(unforeseen(error))

    return wrapped


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """Return ' Did you mean X?' for the nearest known word, else the list of what is known."""
    words = sorted(map(str, known))
    near = difflib.get_close_matches(word[:LONGEST_VALUE], words, n=1, cutoff=0.5)
    return f" Did you mean '{near[0]}'?" if near else f" Known: {', '.join(words)}."
