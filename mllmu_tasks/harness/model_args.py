"""The text behind lmms-eval's --model_args. Its parser cuts at commas before any model is made, and ends in a trace."""

from mllmu_tasks.errors import UserError, quoted

QUOTES = "\"'"
OPENING, CLOSING = "[{", "]}"


def model_args(more: str = "", **given: str | None) -> str:
    """`name=value` with commas between; what is empty or None is left out.

    more: arguments as a user wrote them. Raises UserError for what lmms-eval would read as something else.
    """
    parts = [f"{name}={value}" for name, value in given.items() if value and _is_whole(name, value)]
    _check_text(more, given)
    return ",".join([*parts, *([more] if more else [])])


def _is_whole(name: str, value: str) -> bool:
    """Raises UserError for a value that would be cut or swallow what follows."""
    open_ones = sum(value.count(c) for c in OPENING) - sum(value.count(c) for c in CLOSING)
    if "," in value or any(c in value for c in QUOTES) or open_ones or value != value.rstrip():
        raise UserError(
            f"{name} {quoted(value)} holds a comma, a quote, an open bracket or a blank at its end, at which lmms-eval "
            "cuts --model_args; rename the folder, or link to it under another name."
        )
    return True


def _check_text(more: str, given: dict[str, str | None]) -> None:
    if any(c in more for c in QUOTES + OPENING):
        return  # JSON, which may hold commas of its own
    for part in more.split(","):
        name, equals, _ = part.partition("=")
        if part.strip() and not equals:
            raise UserError(
                f"model_args holds {quoted(part)}, which is no name=value; lmms-eval cuts at commas, so no path may "
                "hold one."
            )
        if name.strip() in given:
            raise UserError(f"model_args holds {name.strip()}=, which is set already; leave it out.")


def as_mapping(text: str) -> dict[str, str]:
    """The arguments of a checked text without JSON."""
    pairs = (part.partition("=") for part in text.split(",") if part.strip())
    return {name.strip(): value.strip() for name, _, value in pairs}
