"""What is read of an answer, by the rules of the official code."""

from collections.abc import Sequence

TAG = "ASSISTANT:"


def clean(raw: str) -> str:
    """The answer the official code would read: up to the next `ASSISTANT:` tag, stripped."""
    return raw.split(TAG)[0].strip()


def letter_is_settled(raw: str, until: Sequence[str] = ()) -> bool:
    """Whether no continuation of an answer changes the letter that is read from it: its first character.

    Not settled: white space only; what may be the beginning of a stop text (`A` of `ASSISTANT:`) or of a reasoning
    block, which lmms-eval removes before scoring; a character whose bytes are not all there.
    """
    answer = raw.lstrip()
    if not answer or answer[0] in "<\ufffd":
        return False
    first = len(raw) - len(answer)
    return not any(stop.startswith(raw[place:]) for stop in (TAG, *until) for place in range(first + 1))
