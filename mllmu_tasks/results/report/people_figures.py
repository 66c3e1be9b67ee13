"""Who is still remembered, how training went, what it cost."""

import math
from collections.abc import Sequence

from matplotlib.axes import Axes
from matplotlib.collections import PolyCollection
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure

from mllmu_tasks.results.columns import FORGET
from mllmu_tasks.results.report import theme
from mllmu_tasks.results.report.figures import Subject, grid, names_left, short
from mllmu_tasks.results.report.gather import Place, Row
from mllmu_tasks.results.report.training import Training
from mllmu_tasks.strict_json import is_finite
from mllmu_tasks.text_safety import one_line

LABEL = 10
CURVES = {"forget": theme.LOW, "retain": theme.HIGH}


def people(subject: Subject, width: float) -> Figure | None:
    """One strip a row, one cell a person of the forget set; the stronger the colour, the more is answered right."""
    forget = subject.first(FORGET)
    if forget is None:
        return None
    tasks = subject.tasks([forget])
    known = {task: {row.name: by_person(subject, row, task) for row in subject.found.rows} for task in tasks}
    order = _most_remembered_first(subject, known)
    if not order:
        return None
    names = [row.name for row in subject.found.rows]
    figure, axes = grid(len(tasks), 1, width, 0.165 * len(names) + (0.75 if len(order) < 80 else 0.5))
    for axis, task in zip(axes, tasks, strict=True):
        _cells(axis, [known[task][name] for name in names], order)
        axis.set(xlim=(-0.5, len(order) - 0.5), ylim=(len(names) - 0.4, -0.6), title=subject.title(task))
        step = -(-len(order) // int(width * 9))
        axis.set_xticks(
            range(0, len(order), step), [label(person) for person in order[::step]], rotation=90, fontsize=6.5
        )
        names_left(axis, names, True)
        axis.grid(visible=False)
        axis.spines["bottom"].set_visible(False)
    axes[-1].set_xlabel("person, the most remembered first")
    return figure


def label(person: str) -> str:
    return one_line(person, LABEL)


def by_person(subject: Subject, row: Row, task: str) -> dict[str, float]:
    """Mean score of each person of the forget set over both modalities; without leaves that are no result."""
    scores: dict[str, list[float]] = {}
    for leaf in subject.found.leaves_at(Place(subject.first(FORGET), task)):
        for (person, _), sample in ({} if row.is_void(leaf) else row.of(leaf)).items():
            scores.setdefault(person, []).append(sample.score)
    return {person: sum(found) / len(found) for person, found in scores.items()}


def _most_remembered_first(subject: Subject, known: dict[str, dict[str, dict[str, float]]]) -> list[str]:
    """By the mean over methods and tasks; one order for all tasks, so that a column is a person."""
    totals: dict[str, list[float]] = {}
    compared = [row.name for row in subject.found.methods] or [row.name for row in subject.found.rows]
    for of_task in known.values():
        for name in compared:
            for person, score in of_task[name].items():
                totals.setdefault(person, []).append(score)
        for found in of_task.values():
            for person in found:
                totals.setdefault(person, [])
    return sorted(totals, key=lambda person: (-sum(totals[person]) / max(1, len(totals[person])), person))


def _cells(axis: Axes, rows: Sequence[dict[str, float]], order: Sequence[str]) -> None:
    corners, colours = [], []
    for y, known in enumerate(rows):
        for x, person in enumerate(order):
            if person in known:
                corners.append([(x - 0.46, y - 0.42), (x + 0.46, y - 0.42), (x + 0.46, y + 0.42), (x - 0.46, y + 0.42)])
                colours.append((*to_rgb(theme.LOW), 0.06 + 0.94 * known[person]))
    axis.add_collection(PolyCollection(corners, facecolors=colours, linewidths=0))


def losses(trainings: Sequence[Training], width: float) -> Figure | None:
    """The terms of each run's loss over its steps; None without a curve."""
    drawn = [training for training in trainings if len(training.losses.get("step", [])) > 1]
    if not drawn:
        return None
    columns = min(len(drawn), 4 if width >= theme.WIDE else 2)
    figure, axes = grid(-(-len(drawn) // columns), columns, width, min(1.7, 0.75 * width / columns))
    for axis in axes[len(drawn) :]:
        axis.set_visible(False)
    for axis, training in zip(axes, drawn, strict=False):
        for place, (term, values) in enumerate(training.terms.items()):
            colour = CURVES.get(term, theme.METHODS[(place + 2) % 6])
            steps = [s for s, v in zip(training.losses["step"], values, strict=True) if v is not None]
            axis.plot(steps, [v for v in values if v is not None], color=colour, linewidth=1.4, label=term)
        axis.set_title(short(training.name))
        axis.legend(loc="best", handlelength=1.2, labelcolor=theme.MUTED, fontsize=7, borderaxespad=0.2)
        axis.margins(x=0.02)
    axes[0].set_ylabel("loss")
    for axis in axes[max(0, len(drawn) - columns) : len(drawn)]:
        axis.set_xlabel("step")
    return figure


def cost(subject: Subject, trainings: Sequence[Training], width: float) -> Figure | None:
    """Seconds and MiB, a panel each; None if nothing was recorded."""
    rows = subject.found.rows
    evaluated = [(row.name, evaluation_seconds(row)) for row in rows]
    panels = [
        ("evaluation, seconds", evaluated),
        ("evaluation, peak MiB", [(row.name, evaluation_memory(row)) for row in rows]),
        ("training, seconds", [(t.name, t.seconds) for t in trainings]),
        ("training, peak MiB", [(t.name, t.peak_memory_mib) for t in trainings]),
    ]
    panels = [(title, found) for title, values in panels if (found := [(n, v) for n, v in values if v is not None])]
    if not panels:
        return None
    columns = min(len(panels), 2 if len(panels) == 4 else 3) if width >= theme.WIDE else 1
    longest = max(len(found) for _, found in panels)
    figure, axes = grid(-(-len(panels) // columns), columns, width, 0.165 * longest + 0.62)
    for axis, (title, found) in zip(axes, panels, strict=False):
        axis.barh(range(len(found)), [v for _, v in found], height=0.66, color=theme.METHODS[2], alpha=0.55)
        axis.set(ylim=(longest - 0.4, -0.6), title=title)
        axis.margins(x=0.12)
        names_left(axis, [name for name, _ in found], True)
        for place, (_, value) in enumerate(found):
            axis.annotate(f"{value:,.0f}", (value, place), (3, 0), textcoords="offset points", va="center", fontsize=7)
    return figure


def evaluation_seconds(row: Row) -> float | None:
    """What lmms-eval took for all runs of a row, start-up left out; None if one did not say."""
    said = [run.about.get("total_evaluation_time_seconds") for run in row.side.runs]
    try:
        seconds = sum(map(float, said))
    except (TypeError, ValueError, OverflowError):
        return None
    return seconds if math.isfinite(seconds) else None


def evaluation_memory(row: Row) -> float | None:
    """The highest peak that mllmu_hf recorded in the runs of a row, MiB."""
    said = [(run.about.get("throughput") or {}).get("avg_peak_memory_mib") for run in row.side.runs]
    return max((float(value) for value in said if is_finite(value) and value), default=None)
