"""JSON from outside, read by one set of rules. Whatever is wrong with a file ends as one sentence that names it.

Lines of a JSON Lines file end at "\\n" alone: an answer may hold U+2028, U+2029 or U+0085, at which `str.splitlines`
would cut it. Half a surrogate pair, which JSON can spell and no file or terminal can hold, becomes U+FFFD.
"""

import json
import math
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from mllmu_tasks.errors import UserError, reason_of, shown

_ESCAPED_SURROGATE = re.compile(r"\\u[dD][89a-fA-F]")
_SURROGATE = re.compile("[\ud800-\udfff]")


def loads(text: str | bytes) -> Any:
    """The value of a JSON text (UTF-8). Raises ValueError, which says why, for whatever cannot be read."""
    try:
        text = text.decode() if isinstance(text, bytes) else text
        value = json.loads(text)
        return _without_halves(value) if _ESCAPED_SURROGATE.search(text) else value
    except RecursionError:
        raise ValueError("it is nested too deeply") from None


def read_object(file: Path, what: str) -> dict[str, Any]:
    """The object in a JSON file. what: the words for a file that is none, "results file". Raises UserError."""
    try:
        value = loads(file.read_bytes())
    except (ValueError, OSError) as error:
        raise UserError(f"'{file}' is no {what} ({reason_of(error, 200)}).") from error
    if not isinstance(value, dict):
        raise UserError(f"'{file}' is no {what} (it holds no JSON object).")
    return value


def read_lines(file: Path, what: str) -> Iterator[tuple[int, dict[str, Any]]]:
    """(line number, object) of a JSON Lines file. what: the words for a line that is none. Raises UserError."""
    try:
        with file.open("rb") as stream:
            for number, line in enumerate(stream, start=1):
                yield number, _object(line, f"'{file}' line {number} is no {what}")
    except OSError as error:
        raise UserError(f"'{file}' cannot be read ({reason_of(error, 200)}).") from error


def _object(line: bytes, sentence: str) -> dict[str, Any]:
    try:
        value = loads(line)
    except ValueError as error:
        raise UserError(f"{sentence} ({reason_of(error, 200)}).") from error
    if not isinstance(value, dict):
        raise UserError(f"{sentence} (it holds no JSON object).")
    return value


def expect(values: dict[str, Any], key: str, *kinds: type, default: Any = ...) -> Any:
    """A value of one of the kinds; bool is no number. default: where the key is absent or null.

    Raises ValueError that says what is wrong.
    """
    value = values.get(key)
    if value is None and default is not ...:
        return default
    if isinstance(value, kinds) and (not isinstance(value, bool) or bool in kinds):
        return value
    wanted = " or ".join(_NAMES[kind] for kind in kinds)
    raise ValueError(f"'{key}' is {shown(value) if key in values else 'missing'}, where {wanted} is needed")


def expect_number(values: dict[str, Any], key: str) -> float:
    """A number as float, NaN and infinities included. Raises ValueError."""
    try:
        return float(expect(values, key, float, int))
    except OverflowError:
        raise ValueError(f"'{key}' is larger than any number that can be used") from None


def is_finite(value: Any) -> bool:
    """Whether a value is a number that can be used: no bool, no NaN, no infinity."""
    try:
        return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)
    except OverflowError:
        return False


def _without_halves(value: Any) -> Any:
    if isinstance(value, str):
        return _SURROGATE.sub("\ufffd", value)
    if isinstance(value, dict):
        return {_without_halves(key): _without_halves(item) for key, item in value.items()}
    return [_without_halves(item) for item in value] if isinstance(value, list) else value


_NAMES = {
    str: "a text",
    int: "a whole number",
    float: "a number",
    bool: "true or false",
    dict: "an object",
    list: "a list",
}
