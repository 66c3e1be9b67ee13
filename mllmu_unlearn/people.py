"""Who is forgotten and who retained: two sets of people that must not overlap."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from mllmu_tasks.benchmark import forget_config, retain_config
from mllmu_tasks.errors import UserError
from mllmu_tasks.request import divided
from mllmu_tasks.source import Source


@dataclass(frozen=True)
class People:
    """Who is forgotten; retain is everyone else of `Full_Set`. Both in row order."""

    forget: tuple[str, ...]
    retain: tuple[str, ...]
    ratio: int | None = None


def choose_people(source: Source, ratio: int | None, ids: Sequence[str]) -> People:
    """People by ratio (`forget_N`) or by ids. Raises UserError for unknown ids, an empty side, or sets that overlap.

    Nobody is trained on out of `retain_N`, so it is not downloaded to be compared; that of a folder is.
    """
    if ratio and Path(source.name).is_dir() and source.has(retain_config(ratio)):
        require_apart(source.name, *((c, [p.id for p in source.people(c)]) for c in splits(ratio)))
    forget, retain = divided(source, (p.id for p in source.people(forget_config(ratio))) if ratio else ids)
    return People(forget, retain, ratio)


def splits(ratio: int) -> tuple[str, str]:
    """The configs of who is forgotten and who is retained."""
    return forget_config(ratio), retain_config(ratio)


def require_apart(name: str, one: tuple[str, Iterable[str]], other: tuple[str, Iterable[str]]) -> None:
    """Raise UserError for people in both of two configs, (name, ids) each."""
    if both := sorted({*one[1]} & {*other[1]}):
        more = f" and {len(both) - 5} more" if len(both) > 5 else ""
        raise UserError(
            f"'{name}' holds the same people in {one[0]} and in {other[0]} ({', '.join(both[:5])}{more}); they would "
            "be forgotten and retained at once, so take them out of one of the two."
        )
