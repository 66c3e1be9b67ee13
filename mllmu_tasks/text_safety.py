"""Text from outside (names, questions, answers) made harmless where it is shown: every printer uses these functions.

Terminals, pages and Markdown never get control characters (ESC, OSC, NUL, C1), marks that turn the direction of what
follows, invisible tags, or half a surrogate pair, which nothing can write.
"""

import json
import re
from typing import Any

_BREAKS = re.compile("[\x0b\x0c\x85\u2028\u2029]")
_HARMFUL = re.compile(
    "[\x00-\x08\x0e-\x1f\x7f-\x9f"  # controls: escape sequences begin with one
    "\u061c\u200e\u200f\u202a-\u202e\u2066-\u206f"  # direction
    "\ufeff\ufff9-\uffff\U000e0000-\U000e007f"  # invisible
    "\ud800-\udfff]"  # halves of pairs
)
_FORMULA = tuple("=+-@\t\r\n＝＋－＠")  # noqa: RUF001 (spreadsheets read the wide ones, too)
_BEGINS_A_BLOCK = re.compile(r"(?:#{1,6}|[-+=]+|\d{1,9}[.)])(?=\s|$)|[-=_]{3,}")
_LINK = re.compile(r"(?<=[a-z])://|(?<=www)\.|(?<=mailto):|(?<=xmpp):", re.IGNORECASE)


def printable(value: str) -> str:
    """Without what must never be shown; other breaks than line feeds become blanks."""
    return _HARMFUL.sub("", _BREAKS.sub(" ", value))


def one_line(value: str, most: int | None = None) -> str:
    """On one line, in at most so many characters."""
    line = " ".join(printable(value).split())
    return line if most is None or len(line) <= most else f"{line[: most - 1]}…"


def markdown(value: str, most: int | None = None) -> str:
    """One line in which no bar, tag, link, picture, emphasis, block or line break of the text's own works."""
    line = one_line(value, most)
    block = _BEGINS_A_BLOCK.match(line) if len(line) > 1 else None
    line = re.sub(r"([\\`*\[\]|~$]|(?<![A-Za-z0-9])_|_(?![A-Za-z0-9]))", r"\\\1", line)
    line = line.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    line = _LINK.sub(lambda found: found[0].replace(":", "&#58;").replace(".", "&#46;"), line)
    if block and not line.startswith("\\"):
        last = block.end() - 1
        return f"{line[:last]}\\{line[last:]}" if block[0][-1] in ".)" else f"\\{line}"
    return line


def code(value: str) -> str:
    """An inline code span in which the text stands as it is, in a table's cell, too."""
    line = one_line(value).replace("|", "\\|")
    fence = "`" * (1 + max((len(run) for run in re.findall("`+", line)), default=0))
    blank = " " if line.startswith("`") or line.endswith("`") else ""
    return f"{fence}{blank}{line}{blank}{fence}" if line else ""


def code_block(value: str) -> list[str]:
    """Lines of a fenced block whose fence is longer than any run of backticks in the text."""
    longest = max((len(run) for run in re.findall("`+", value)), default=0)
    fence = "`" * max(3, longest + 1)
    return [fence, *printable(value).replace("\r", "\n").split("\n"), fence]


def csv_cell(value: Any) -> Any:
    """A text that a spreadsheet would run as a formula begins with an apostrophe (OWASP); numbers stay numbers."""
    if not isinstance(value, str):
        return value
    value = printable(value)
    return f"'{value}" if value.startswith(_FORMULA) or value.lstrip().startswith(_FORMULA) else value


def json_text(value: Any, indent: int | None = 2) -> str:
    """JSON in which what must not be shown is spelt as an escape, so that nothing is lost; NaN is an error."""
    text = json.dumps(value, indent=indent, ensure_ascii=False, allow_nan=False)
    return _HARMFUL.sub(_spelt, _BREAKS.sub(_spelt, text))


def _spelt(found: re.Match) -> str:
    return json.dumps(found[0])[1:-1]
