"""The tables of a report, once, for HTML and Markdown alike."""

from collections.abc import Sequence
from dataclasses import dataclass

from mllmu_tasks.benchmarks.mllmu.spec import Modality, Split, Task
from mllmu_tasks.results.report.figures import Subject
from mllmu_tasks.results.report.gather import Role
from mllmu_tasks.results.report.scores import Place, Score

HEADS = {Task.CLASSIFICATION: "cls", Task.GENERATION: "gen", Task.CLOZE: "cloze"}
TO = NOTHING = "\u2013"
PART, PART_WORDS = "*", "Not all questions of the benchmark: the warnings above say which and why."
ARROW = {True: "↓", False: "↑"}


@dataclass(frozen=True)
class Line:
    name: str
    role: Role
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
    places = {place for _, place in subject.scores}
    pooled = [Place(split, task) for split in Split for task in Task if Place(split, task) in places]
    made = [_table(subject, "All splits, image and text questions together", pooled, by_split=True)] if pooled else []
    for split in subject.splits():
        apart = [Place(split, task, modality) for task in Task for modality in Modality]
        here = [place for place in apart if place in places]
        made.append(_table(subject, f"{split.capitalize()} {ARROW[here[0].low_is_good]}", here, by_split=False))
    return made


def _table(subject: Subject, title: str, places: Sequence[Place], *, by_split: bool) -> Table:
    groups: dict[str, int] = {}
    for place in places:
        head = f"{place.split} {ARROW[place.low_is_good]}" if by_split else str(place.task)
        groups[head] = groups.get(head, 0) + 1
    heads = [HEADS[place.task] if by_split else str(place.modality) for place in places]
    lines = [
        Line(row.name, row.role, tuple(subject.scores.get((row.name, place)) for place in places))
        for row in subject.found.rows
    ]
    return Table(title, tuple(groups.items()), tuple(heads), tuple(lines))


def number(value: float) -> str:
    """.87, 1.00"""
    text = f"{value:.2f}"
    return text.removeprefix("0") if text.startswith("0.") else text


def interval(score: Score) -> str:
    return f"{number(score.low)}{TO}{number(score.high)}"
