"""A judge's reply -> a whole number from 1 to 10, or None. Nothing is rounded or guessed."""

import json
import re
from collections.abc import Iterator

_NUMBER = r"(-?\d+(?:\.0+)?)(?:\s*(?:/|out of)\s*10\b)?"
_END = r"(?!\d|[.,]\d|[ \t]*(?:/|out of|[-\u2013]|to)[ \t]*\d)"  # 8.5, 8-9, 8/100 are no whole numbers out of ten
_ALONE = re.compile(rf"[\s\"'*`]*{_NUMBER}[\s\"'*`.]*")
_NAMED = re.compile(
    r"factuality[\s_-]*score[\"'*`]*\s*(?:\([^)\n]*\))?[\"'*`]*\s*[:=][\s\"'*`]*" + _NUMBER + _END, re.IGNORECASE
)
_KEY = re.compile(r"factuality[\s_-]*score", re.IGNORECASE)


def parse_score(reply: str) -> int | None:
    """The grade in a reply: that of its JSON object; else the one it names; else a reply that is a number alone.

    None if there is none, it is no whole number from 1 to 10, or several different ones are named.
    """
    text = reply.rsplit("</think>", 1)[-1]
    graded = [value for found in _objects(text) for key, value in found.items() if _KEY.fullmatch(key.strip())]
    if graded:
        found = {_whole(value) for value in graded}
    else:
        found = {_whole(match) for match in _NAMED.findall(text)} or {_whole(text)}
    return found.pop() if len(found) == 1 else None


def _objects(text: str) -> Iterator[dict]:
    """JSON objects in a text, outermost only, also inside a code fence."""
    decoder, place = json.JSONDecoder(strict=False), text.find("{")
    while place >= 0:
        try:
            value, end = decoder.raw_decode(text, place)
        except (ValueError, RecursionError):
            end = place + 1
        else:
            yield value
        place = text.find("{", end)


def _whole(value: object) -> int | None:
    if isinstance(value, bool) or not isinstance(value, (int, float, str)):
        return None
    match = _ALONE.fullmatch(str(value))
    number = int(float(match[1])) if match and len(match[1]) < 8 else 0
    return number if 1 <= number <= 10 else None
