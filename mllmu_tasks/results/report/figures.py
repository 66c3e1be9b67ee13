"""Scores as figures: the trade-off, bars, the modality gap. Each takes the width it is drawn for."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from mllmu_tasks.results.columns import FORGET, RETAIN
from mllmu_tasks.results.report import theme
from mllmu_tasks.results.report.gather import Place, Row, RowKind, Study
from mllmu_tasks.results.report.scores import Score, Scores
from mllmu_tasks.text_safety import one_line

SCORES = {"mllmu_rougeL": "ROUGE-L"}
"""Metrics that a title names, since they are no accuracy."""
SHORT = 18
"""Characters of a name in a figure; tables have it whole."""


@dataclass(frozen=True)
class Subject:
    """What the figures draw."""

    found: Study
    scores: Scores

    def marks(self) -> dict[str, theme.Mark]:
        methods = {row.name: theme.mark(place) for place, row in enumerate(self.found.methods)}
        frame = {RowKind.VANILLA: theme.VANILLA, RowKind.REFERENCE: theme.REFERENCE}
        return {
            row.name: methods[row.name] if row.kind is RowKind.METHOD else frame[row.kind] for row in self.found.rows
        }

    def score(self, row: Row | None, place: Place) -> Score | None:
        """None too where the number is no result."""
        score = self.scores.get((row.name, place)) if row else None
        return score if score and score.is_result else None

    def splits(self) -> list[str]:
        return [split for split in self.found.splits if self.found.has(split)]

    def tasks(self, splits: Sequence[str]) -> list[str]:
        return [task for task in self.found.tasks if any(p.split in splits and p.task == task for _, p in self.scores)]

    def first(self, role: str) -> str | None:
        """The split that stands for a role."""
        return next(iter(self.found.splits_of(role)), None)

    def title(self, task: str) -> str:
        score = next(leaf.score.name for (_, name, _), leaf in self.found.leaves.items() if name == task)
        return f"{task} ({SCORES[score]})" if score in SCORES else task


def short(name: str) -> str:
    """Begin and end of a long name: names of a sweep differ at the end."""
    half, name = SHORT // 2, one_line(name)
    return name if len(name) <= SHORT else f"{name[: half - 1]}…{name[-half:]}"


def tradeoff(subject: Subject, width: float) -> Figure | None:
    """Forget score, falling to the right, against what was kept; None unless both sides were evaluated."""
    kept, forget = subject.first(RETAIN), subject.first(FORGET)
    if kept is None or forget is None:
        return None
    tasks = subject.tasks([forget])
    modalities = subject.found.modalities
    panels = [(task, modality) for modality in modalities for task in tasks]
    columns = len(tasks) if width >= theme.WIDE else 2
    if columns == 2:
        panels = [(task, modality) for task in tasks for modality in modalities]
    rows = -(-len(panels) // columns)
    figure, axes = grid(rows, columns, width, 0.8 * width / columns, legend=_legend_height(subject, width))
    lowest = [s.low for (_, p), s in subject.scores.items() if p.split == kept and p.modality and s.is_result]
    bottom = int(4 * min(lowest, default=0)) / 4  # one scale for all panels, without the quarters nobody is in
    for axis, (task, modality) in zip(axes, panels, strict=False):
        places = (Place(forget, task, modality), Place(kept, task, modality))
        _tradeoff_panel(subject, axis, *places)
        axis.set_ylim(bottom - 0.04, 1.04)
        axis.set_title(f"{subject.title(task)}, {modality}" if columns > 2 else f"{task}, {modality}")
    _outer_labels(axes, columns, "forget score, falling →", f"{kept} score")
    _legend(subject, figure, width)
    return figure


def _tradeoff_panel(subject: Subject, axis: Axes, forget: Place, kept: Place) -> None:
    axis.set_xlim(1.04, -0.04)
    axis.set_xticks(*TICKS)
    axis.set_yticks(*TICKS)
    for role, place, line in (
        (RowKind.VANILLA, kept, axis.axhline),
        (RowKind.REFERENCE, forget, axis.axvline),
    ):
        score = subject.score(subject.found.one(role), place)
        if score:
            line(score.mean, color=theme.MUTED, linewidth=0.8, linestyle=(0, (3, 3)), zorder=1)
    for row in reversed(subject.found.rows):  # the frame on top
        x, y = subject.score(row, forget), subject.score(row, kept)
        if not x or not y:
            continue
        mark = subject.marks()[row.name]
        axis.plot([x.low, x.high], [y.mean, y.mean], color=mark.colour, linewidth=0.9, alpha=0.55, zorder=2)
        axis.plot([x.mean, x.mean], [y.low, y.high], color=mark.colour, linewidth=0.9, alpha=0.55, zorder=2)
        _dot(axis, x.mean, y.mean, mark)


def bars(subject: Subject, width: float) -> Figure:
    """One bar a row, split by split and task by task; whiskers are 95 % intervals."""
    splits = subject.splits()
    tasks = subject.tasks(splits)
    columns = len(splits) if width >= theme.WIDE else min(2, len(splits))
    groups = [splits[i : i + columns] for i in range(0, len(splits), columns)]
    panels = [(task, split) for task in tasks for group in groups for split in group]
    names = [row.name for row in subject.found.rows]
    height = 0.165 * len(names) + 0.62
    figure, axes = grid(-(-len(panels) // columns), columns, width, height)
    for place, (axis, (task, split)) in enumerate(zip(axes, panels, strict=False)):
        pooled = subject.found.place(split, task)
        colour = theme.LOW if pooled.low_is_good else theme.HIGH
        for position, row in enumerate(subject.found.rows):
            score = subject.score(row, pooled)
            if score is None:
                continue
            frame = row.kind is not RowKind.METHOD
            axis.barh(position, score.mean, height=0.66, color=theme.MUTED if frame else colour, alpha=0.55)
            axis.plot([score.low, score.high], [position, position], color=theme.INK, linewidth=0.9)
        axis.set(xlim=(0, 1.02), ylim=(len(names) - 0.4, -0.6))
        axis.set_xticks(*TICKS)
        axis.set_title(f"{split} {pooled.arrow} {task}")
        names_left(axis, names, place % columns == 0)
    return figure


def gap(subject: Subject, width: float) -> Figure | None:
    """Image against text questions of the same task; None if a modality is missing."""
    splits = [split for role in (FORGET, RETAIN) if (split := subject.first(role))]
    tasks = subject.tasks(splits)
    pairs = [(split, task) for split in splits for task in tasks]
    seen = {place.modality for _, place in subject.scores}
    modalities = subject.found.modalities
    if not pairs or len(modalities) != 2 or not set(modalities) <= seen:
        return None
    columns = len(tasks) if width >= theme.WIDE else min(2, len(tasks))
    if columns == 2:
        pairs = [(split, task) for task in tasks for split in splits]
    marks = dict(zip(modalities, _TWO, strict=True))
    names = [row.name for row in subject.found.rows]
    height = 0.165 * len(names) + 0.62
    figure, axes = grid(-(-len(pairs) // columns), columns, width, height, legend=0.3)
    for place, (axis, (split, task)) in enumerate(zip(axes, pairs, strict=False)):
        for position, row in enumerate(subject.found.rows):
            ends = {m: subject.score(row, Place(split, task, m)) for m in modalities}
            if not all(ends.values()):
                continue
            axis.plot(
                [score.mean for score in ends.values()],
                [position] * 2,
                color=theme.MUTED,
                linewidth=1.6,
                alpha=0.5,
                zorder=1,
            )
            for modality, score in ends.items():
                _dot(axis, score.mean, position, marks[modality])
        axis.set(xlim=(-0.03, 1.03), ylim=(len(names) - 0.4, -0.6))
        axis.set_xticks(*TICKS)
        axis.set_title(f"{split}, {task}")
        names_left(axis, names, place % columns == 0)
    handles = [_handle(mark, f"{modality} questions") for modality, mark in marks.items()]
    figure.legend(handles=handles, loc="lower left", ncols=2, handletextpad=0.3, columnspacing=1.4)
    return figure


TICKS = ([0, 0.25, 0.5, 0.75, 1], ["0", ".25", ".5", ".75", "1"])
_TWO = (theme.Mark(theme.METHODS[1], "s"), theme.Mark(theme.METHODS[0], "o"))


def grid(rows: int, columns: int, width: float, height: float, legend: float = 0.0) -> tuple[Figure, list[Axes]]:
    """Panels of a height in inches, and room for a legend below."""
    whole = rows * height + legend
    figure = Figure(figsize=(width, whole), layout="constrained")
    figure.get_layout_engine().set(w_pad=0.07, h_pad=0.06, rect=(0, legend / whole, 1, 1 - legend / whole))
    axes = figure.subplots(rows, columns, squeeze=False)
    return figure, list(axes.flat)


def _outer_labels(axes: Sequence[Axes], columns: int, x: str, y: str) -> None:
    for place, axis in enumerate(axes):
        if place % columns == 0:
            axis.set_ylabel(y)
        if place >= len(axes) - columns:
            axis.set_xlabel(x)
    drawn = lambda axis: axis.lines or axis.patches or axis.collections
    for axis in axes:
        axis.set_visible(bool(drawn(axis)))


def names_left(axis: Axes, names: Sequence[str], shown: bool) -> None:
    axis.set_yticks(range(len(names)), [short(name) for name in names] if shown else [])
    axis.grid(visible=False, axis="y")
    axis.spines["left"].set_visible(False)
    axis.tick_params(axis="y", labelcolor=theme.INK)


def _dot(axis: Axes, x: float, y: float, mark: theme.Mark) -> None:
    big = 9 if mark.marker == "*" else 5.2
    axis.plot(
        x,
        y,
        linestyle="none",
        marker=mark.marker,
        markersize=big,
        color=mark.colour,
        markerfacecolor=mark.face,
        markeredgecolor=mark.colour if mark.hollow else theme.PAPER,
        markeredgewidth=1.3 if mark.hollow else 0.5,
        zorder=4 if mark.hollow or big > 6 else 3,
        clip_on=False,
    )


def _handle(mark: theme.Mark, label: str) -> Line2D:
    return Line2D(
        [],
        [],
        linestyle="none",
        marker=mark.marker,
        markersize=9 if mark.marker == "*" else 6,
        markerfacecolor=mark.face,
        markeredgecolor=mark.colour if mark.hollow else theme.PAPER,
        markeredgewidth=1.3 if mark.hollow else 0.5,
        label=label,
    )


def _columns(subject: Subject, width: float) -> int:
    longest = max(len(short(row.name)) for row in subject.found.rows)
    return max(1, min(len(subject.found.rows), int(width / (0.064 * longest + 0.42))))


def _legend_height(subject: Subject, width: float) -> float:
    return 0.19 * -(-len(subject.found.rows) // _columns(subject, width)) + 0.16


def _legend(subject: Subject, figure: Figure, width: float) -> None:
    marks = subject.marks()
    handles = [_handle(marks[row.name], short(row.name)) for row in subject.found.rows]
    columns = _columns(subject, width)
    figure.legend(handles=handles, loc="lower left", ncols=columns, handletextpad=0.3, columnspacing=1.4)


Draw = Callable[[Subject, float], Figure | None]
