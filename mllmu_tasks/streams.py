"""Terminals that do not show all of Unicode: what we print there becomes ASCII that reads alike, and never an error."""

import codecs
import io
import sys
import unicodedata

HANDLER = "mllmu_ascii"
_ALIKE = {"±": "+-", "·": "*", "→": "->", "←": "<-", "↑": "^", "↓": "v", "≤": "<=", "≥": ">=", "█": "#"}
_BOX = range(0x2500, 0x2580)


def ready() -> None:
    """Make stdout and stderr take any text; idempotent. Called before we print: by our commands, tasks and models."""
    codecs.register_error(HANDLER, _alike)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper) and codecs.lookup(stream.encoding).name != "utf-8":
            stream.reconfigure(errors=HANDLER)


def _alike(error: UnicodeError) -> tuple[str, int]:
    """A codec's error handler: what to write for characters that it does not have, and where to go on."""
    if not isinstance(error, UnicodeEncodeError):
        raise error
    return "".join(map(_in_ascii, error.object[error.start : error.end])), error.end


def _in_ascii(character: str) -> str:
    plain = unicodedata.normalize("NFKD", character).encode("ascii", "ignore").decode()
    if character in _ALIKE or plain:
        return _ALIKE.get(character, plain)
    name = unicodedata.name(character, "")
    if ord(character) in _BOX:
        return "-" if name.endswith("HORIZONTAL") else "|" if name.endswith("VERTICAL") else "+"
    if unicodedata.category(character) == "Pd" or name == "MINUS SIGN":
        return "-"
    if "QUOTATION MARK" in name:
        return '"' if "DOUBLE" in name else "'"
    return "?"
