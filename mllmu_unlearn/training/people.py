"""Who is forgotten and who retained: two sets of people that must not overlap."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from mllmu_tasks.benchmarks.mllmu.spec import FULL_CONFIG, forget_config, retain_config
from mllmu_tasks.benchmarks.mllmu.splits import check_split
from mllmu_tasks.data.request import divided
from mllmu_tasks.data.source import Source


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
        check_split(source, ratio)
    forget, retain = divided(source, (p.id for p in source.people(forget_config(ratio))) if ratio else ids)
    return People(forget, retain, ratio)


def everyone(source: Source) -> People:
    """Nobody is forgotten."""
    return People((), tuple(person.id for person in source.people(FULL_CONFIG)))


def splits(ratio: int) -> tuple[str, str]:
    """The configs of who is forgotten and who is retained."""
    return forget_config(ratio), retain_config(ratio)
