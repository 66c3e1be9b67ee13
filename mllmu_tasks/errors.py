"""How a bad input ends: one sentence with the remedy, no stack trace, exit code 2."""

import difflib
import sys
from collections.abc import Iterable
from typing import NoReturn


class UserError(Exception):
    """Something the user can mend. The message is one sentence that names the remedy."""


def stop(error: UserError | str) -> NoReturn:
    """Print one line and leave with exit code 2.

    For code that lmms-eval calls: an ordinary exception there is retried five times, printed twice and
    ends with exit code 0; SystemExit passes through at once.
    """
    print(f"mllmu: error: {error}", file=sys.stderr, flush=True)
    raise SystemExit(2)


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """Return ' Did you mean X?' for the nearest known word, else the list of what is known."""
    words = sorted(map(str, known))
    near = difflib.get_close_matches(word, words, n=1, cutoff=0.5)
    return f" Did you mean '{near[0]}'?" if near else f" Known: {', '.join(words)}."
