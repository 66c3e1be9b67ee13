"""The tables of a report, once, for HTML and Markdown alike."""

from collections.abc import Sequence
from dataclasses import dataclass

from mllmu_tasks.results.report.figures import Subject
from mllmu_tasks.results.report.gather import Place, RowKind
from mllmu_tasks.results.report.scores import Score
from mllmu_tasks.results.tables.labels import short

TO = NOTHING = "\u2013"
PART, PART_WORDS = "*", "Not all questions of the benchmark: the warnings above say which and why."


@dataclass(frozen=True)
class Line:
    name: str
    kind: RowKind
    cells: tuple[Score | None, ...]


@dataclass(frozen=True)
class Table:
    """groups: (head, columns below it); heads: one a column."""

    title: str
    groups: tuple[tuple[str, int], ...]
    heads: tuple[str, ...]
    lines: tuple[Line, ...]


def tables(subject: Subject) -> list[Table]:
    """All splits with modalities pooled, then a table a split with image and text apart."""
    found = subject.found
    places = list(dict.fromkeys(place for _, place in subject.scores))
    pooled = [place for place in places if not place.modality and not place.metric]
    words = " and ".join(found.modalities)
    drawn = [_table(subject, f"All splits, {words} questions together", pooled, by_split=True)] if pooled else []
    for metric in found.joined:
        joined = [place for place in places if place.metric == metric]
        drawn += [_table(subject, f"{metric}, all splits", joined, by_split=True)] if joined else []
    for split in subject.splits():
        apart = [place for place in places if place.split == split and place.modality]
        title = f"{split[0].upper()}{split[1:]} {apart[0].arrow}".rstrip() if apart else ""
        drawn += [_table(subject, title, apart, by_split=False)] if apart else []
    return drawn


def _table(subject: Subject, title: str, places: Sequence[Place], *, by_split: bool) -> Table:
    groups: dict[str, int] = {}
    for place in places:
        head = f"{place.split} {place.arrow}".rstrip() if by_split else place.task
        groups[head] = groups.get(head, 0) + 1
    heads = [short(place.task) if by_split else str(place.modality) for place in places]
    lines = [
        Line(row.name, row.kind, tuple(subject.scores.get((row.name, place)) for place in places))
        for row in subject.found.rows
    ]
    return Table(title, tuple(groups.items()), tuple(heads), tuple(lines))


def number(value: float) -> str:
    """.87, 1.00"""
    text = f"{value:.2f}"
    return text.removeprefix("0") if text.startswith("0.") else text


def interval(score: Score) -> str:
    return f"{number(score.low)}{TO}{number(score.high)}"
