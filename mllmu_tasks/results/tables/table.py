"""Runs -> one table: methods x splits x tasks, with standard errors clustered by person."""

import csv
import io
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass

from mllmu_tasks.errors import UserError, did_you_mean
from mllmu_tasks.results.columns import Leaf, benchmarks_of
from mllmu_tasks.results.runs import Run, Sample
from mllmu_tasks.results.stats.means import Estimate, clustered_mean
from mllmu_tasks.results.tables.labels import column_head
from mllmu_tasks.results.tables.rendering import Grid, as_markdown, as_text, terminal_width
from mllmu_tasks.results.tables.summary import ROW_HEADS, RunSummary, rows_of
from mllmu_tasks.results.validity import Flaw, Weight, by_leaf, explain, row_flaws
from mllmu_tasks.text_safety import csv_cell, json_text, markdown, one_line

FORMATS = ("text", "markdown", "csv", "json")
SCHEMA = 1
NOT_A_RESULT = "not a result"
MARK = "*"
"""Of a number that stands for a part of the questions."""


@dataclass(frozen=True)
class Cell:
    """One number: the mean of a metric of a task on a split; modality None pools image and text questions.

    leaf: the first one that it is made of. answered: rate of questions with an answer. shots: people shown as examples;
    seed: of their draw and of the test pictures; both None if the results file does not say. flaws: what `validity.py`
    finds. Where the files are damaged the estimate is NaN.
    """

    run: str
    leaf: Leaf
    modality: str | None
    metric: str
    estimate: Estimate
    answered: float
    flaws: tuple[Flaw, ...] = ()
    shots: int | None = None
    seed: int | None = None

    @property
    def benchmark(self) -> str:
        return self.leaf.benchmark

    @property
    def split(self) -> str:
        return self.leaf.split

    @property
    def ratio(self) -> int | None:
        return self.leaf.ratio

    @property
    def task(self) -> str:
        return self.leaf.task

    @property
    def place(self) -> tuple:
        """Of its column."""
        return self.benchmark, self.split, self.ratio, self.task, self.modality

    @property
    def weight(self) -> int:
        """Of the heaviest flaw, 0 without."""
        return max((flaw.weight for flaw in self.flaws), default=0)

    @property
    def is_result(self) -> bool:
        return not any(flaw.void for flaw in self.flaws)


def cells(
    runs: Sequence[Run], *, pooled: bool = True, name: str | None = None, metric: str | None = None
) -> list[Cell]:
    """The cells of one row, in the order of the runs' leaves; `pooled` joins the modalities of a task.

    runs: of one model, with no leaf in common. metric: in the place of the scores; a task without it has no cell.
    """
    flaws = row_flaws(runs)
    groups: dict[tuple, list[tuple[Run, Leaf, list[Sample]]]] = {}
    for run in runs:
        for leaf, samples in by_leaf(run).items():
            if metric and not leaf.metric(metric):
                continue
            if samples or any(flaw.weight is Weight.DAMAGE for flaw in flaws[leaf.name]):
                key = (leaf.benchmark, leaf.split, leaf.ratio, leaf.task, None if pooled else leaf.modality)
                groups.setdefault(key, []).append((run, leaf, samples))
    return [_cell(name or runs[0].name, key[-1], group, flaws, metric) for key, group in groups.items()]


def known_metrics(runs: Sequence[Run]) -> list[str]:
    """Every metric that some leaf of the runs has."""
    leaves = [leaf for run in runs for leaf in run.leaves]
    return sorted({metric.name for leaf in leaves for metric in (*leaf.metrics, *leaf.joined)})


def _cell(
    name: str,
    modality: str | None,
    group: list[tuple[Run, Leaf, list[Sample]]],
    of_leaf: Mapping[str, tuple[Flaw, ...]],
    metric: str | None,
) -> Cell:
    run, first, _ = group[0]
    flaws = [flaw for _, leaf, _ in group for flaw in of_leaf[leaf.name]]
    modalities = {leaf.modality for _, leaf, samples in group if samples}
    if modality is None and len(modalities) == 1 < len(first.modalities):
        flaws.append(Flaw(first.name, f"{next(iter(modalities))} questions alone", Weight.PART))
    samples = [sample for _, _, samples in group for sample in samples]
    scored = [sample for sample in samples if metric is None or metric in sample.metrics]
    if len(scored) < len(samples):
        flaws.append(Flaw(first.name, f"{len(scored)} of {len(samples)} answers have a {metric}", Weight.PART))
    facts = run.facts[first.name]
    damaged = any(flaw.weight is Weight.DAMAGE for flaw in flaws)
    people = [sample.person for sample in scored]
    return Cell(
        run=name,
        leaf=first,
        modality=modality,
        metric=metric or first.score.name,
        estimate=Estimate(math.nan, None, len(people), len(set(people)))
        if damaged or not scored
        else clustered_mean([sample.metrics[metric] if metric else sample.score for sample in scored], people),
        answered=sum(sample.answered for sample in samples) / len(samples) if samples else 0.0,
        flaws=tuple(flaws),
        shots=_shown(facts),
        seed=facts.get("seed"),
    )


def render(
    rows: Sequence[Cell],
    form: str,
    *,
    runs: Sequence[RunSummary] = (),
    title: str = "",
    allow_unanswered: bool = False,
) -> str:
    """The table as `text`, `markdown`, `csv` or `json`. Raises UserError for another format.

    runs: adds answered rate, shots and seed of each row to text and Markdown, and what is known of the runs to JSON.
    allow_unanswered: shows the numbers of what is not a result, marked as such.
    """
    if form not in FORMATS:
        raise UserError(f"Unknown format '{form}'.{did_you_mean(form, FORMATS)}")
    if form == "json":
        return json_text({"schema": SCHEMA, "runs": [asdict(run) for run in runs], "cells": [_flat(c) for c in rows]})
    if form == "csv":
        flat = [_flat(cell) for cell in rows]
        out = io.StringIO()
        writer = csv.DictWriter(out, fieldnames=list(flat[0]) if flat else [], lineterminator="\n")
        writer.writeheader()
        for line in flat:
            writer.writerow(
                {key: csv_cell(value) for key, value in (line | {"notes": "; ".join(line["notes"])}).items()}
            )
        return out.getvalue()
    grid, notes = _grid(rows, runs, title, allow_unanswered), explanations(rows)
    if form == "markdown":
        return "\n".join([as_markdown(grid), *(f"\n{markdown(note)}" for note in notes)])
    return as_text(grid, terminal_width()) + "".join(f"{one_line(note)}\n" for note in notes)


def explanations(rows: Sequence[Cell]) -> list[str]:
    """What the words and marks of the cells stand for: a line for each row and reason."""
    lines = []
    for head, void in ((NOT_A_RESULT, True), (MARK, False)):
        flaws: dict[str, list[Flaw]] = {}
        for cell in rows:
            flaws.setdefault(cell.run, []).extend(flaw for flaw in cell.flaws if flaw.void is void)
        lines += [f"{head}: {line}" if void else f"{head} {line}" for line in explain(flaws)]
    return lines


def _grid(rows: Sequence[Cell], runs: Sequence[RunSummary], title: str, allow_unanswered: bool) -> Grid:
    """One line a row, one column a place."""
    columns = {cell.place: cell for cell in sorted(rows, key=lambda cell: cell.leaf.sorting, reverse=True)}
    columns = dict(sorted(columns.items(), key=lambda entry: entry[1].leaf.sorting))
    at = {(cell.run, cell.place): cell for cell in rows}
    more = rows_of(runs) if runs else {}
    void = {cell.run for cell in rows if not cell.is_result}
    lines = [
        [
            f"{name} ({NOT_A_RESULT})" if name in void and allow_unanswered else name,
            *(_number(at.get((name, place)), allow_unanswered) for place in columns),
            *more.get(name, ()),
        ]
        for name in dict.fromkeys(cell.run for cell in rows)
    ]
    benchmarks = benchmarks_of(cell.leaf for cell in rows)
    heads = [_head(cell, benchmarks) for cell in columns.values()]
    return Grid(["", *heads, *(ROW_HEADS if runs else ())], lines, title)


def _head(cell: Cell, benchmarks: Sequence[str]) -> str:
    wants_low = cell.leaf.metric(cell.metric).wants_low(cell.leaf.role)
    return column_head(cell.leaf, benchmarks, wants_low, cell.modality)


def _shown(facts: Mapping) -> int | None:
    return len(facts["shot_people"]) if "shot_people" in facts else None


def _number(cell: Cell | None, allow_unanswered: bool) -> str:
    if cell is None:
        return "-"
    if cell.weight > (Weight.SILENCE if allow_unanswered else Weight.PART):
        return NOT_A_RESULT
    if math.isnan(cell.estimate.mean):
        return "-"
    error = "" if cell.estimate.stderr is None else f" ±{cell.estimate.stderr:.2f}".replace("±0.", "±.")
    mark = f" {MARK}" if any(not flaw.void for flaw in cell.flaws) else ""
    return f"{cell.estimate.mean:.2f}{error}{mark}"


def _flat(cell: Cell) -> dict:
    """A cell for programs: NaN, which neither JSON nor a spreadsheet knows, becomes null."""
    estimate = asdict(cell.estimate)
    return {
        **{name: getattr(cell, name) for name in ("run", "split", "ratio", "task", "modality", "metric", "answered")},
        **{name: getattr(cell, name) for name in ("is_result", "shots", "seed")},
        **(estimate | {"mean": None if math.isnan(cell.estimate.mean) else cell.estimate.mean}),
        "notes": [str(flaw) for flaw in cell.flaws],
        "benchmark": cell.benchmark,
        "role": cell.leaf.role,
    }
