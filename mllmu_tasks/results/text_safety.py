"""Text from outside (names, questions, answers) made harmless for terminals, XML and Markdown."""

import re

# Neither for XML nor for a terminal.
_CONTROL = re.compile(r"[^\t\n\r\x20-\x7e\xa0-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


def printable(value: str) -> str:
    """Without control characters and lone surrogates."""
    return _CONTROL.sub("", value)


def markdown(value: str) -> str:
    """One line in which no bar, tag, link, picture, emphasis or line break of the text's own works."""
    value = " ".join(printable(value).split())
    return re.sub(r"([\\`*_\[\]|~$])", r"\\\1", value).replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def code_block(value: str) -> list[str]:
    """Lines of a fenced block whose fence is longer than any run of backticks in the text."""
    longest = max((len(run) for run in re.findall("`+", value)), default=0)
    fence = "`" * max(3, longest + 1)
    return [fence, *(printable(line) for line in value.splitlines()), fence]
