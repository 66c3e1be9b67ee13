"""Runs -> one table: methods x splits x tasks, with standard errors clustered by person."""

import csv
import io
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass

from rich.console import Console
from rich.table import Table
from rich.text import Text

from mllmu_tasks.benchmarks.mllmu.spec import METRICS, Leaf, Modality, Split, Task
from mllmu_tasks.errors import UserError, did_you_mean
from mllmu_tasks.results.runs import Run, Sample
from mllmu_tasks.results.stats.means import Estimate, clustered_mean
from mllmu_tasks.results.tables.summary import ROW_HEADS, RunSummary, rows_of
from mllmu_tasks.results.validity import Flaw, Weight, by_leaf, explain, row_flaws
from mllmu_tasks.text_safety import csv_cell, json_text, markdown, one_line

FORMATS = ("text", "markdown", "csv", "json")
SCHEMA = 1
SHORT = {Task.CLASSIFICATION: "cls", Task.GENERATION: "gen", Task.CLOZE: "cloze"}
ARROWS = {Split.FORGET: "↓", Split.TEST: "↓", Split.RETAIN: "↑", Split.REAL: "↑"}
NOT_A_RESULT = "not a result"
MARK = "*"
"""Of a number that stands for a part of the questions."""


@dataclass(frozen=True)
class Cell:
    """One number: the mean `score` of a task on a split; modality None pools image and text questions.

    answered: rate of questions with an answer. shots: people shown as examples; seed: of their draw and of the test
    pictures; both None if the results file does not say. flaws: what `validity.py` finds. Where the files are damaged
    the estimate is NaN.
    """

    run: str
    split: Split
    ratio: int | None
    task: Task
    modality: Modality | None
    metric: str
    estimate: Estimate
    answered: float
    flaws: tuple[Flaw, ...] = ()
    shots: int | None = None
    seed: int | None = None

    @property
    def weight(self) -> int:
        """Of the heaviest flaw, 0 without."""
        return max((flaw.weight for flaw in self.flaws), default=0)

    @property
    def is_result(self) -> bool:
        return not any(flaw.void for flaw in self.flaws)


def cells(runs: Sequence[Run], *, pooled: bool = True, name: str | None = None) -> list[Cell]:
    """The cells of one row, in the order of the runs' leaves; `pooled` joins the two modalities of a task.

    runs: of one model, with no leaf in common.
    """
    flaws = row_flaws(runs)
    groups: dict[tuple, list[tuple[Run, Leaf, list[Sample]]]] = {}
    for run in runs:
        for leaf, samples in by_leaf(run).items():
            if samples or any(flaw.weight is Weight.DAMAGE for flaw in flaws[leaf.name]):
                key = (leaf.split, leaf.ratio, leaf.task, None if pooled else leaf.modality)
                groups.setdefault(key, []).append((run, leaf, samples))
    return [_cell(name or runs[0].name, key, group, flaws) for key, group in groups.items()]


def _cell(
    name: str, key: tuple, group: list[tuple[Run, Leaf, list[Sample]]], known: Mapping[str, tuple[Flaw, ...]]
) -> Cell:
    split, ratio, task, modality = key
    flaws = [flaw for _, leaf, _ in group for flaw in known[leaf.name]]
    there = {leaf.modality for _, leaf, samples in group if samples}
    if modality is None and len(there) == 1:
        flaws.append(Flaw(group[0][1].name, f"{next(iter(there))} questions alone", Weight.PART))
    samples = [sample for _, _, found in group for sample in found]
    facts = group[0][0].facts[group[0][1].name]
    damaged = any(flaw.weight is Weight.DAMAGE for flaw in flaws)
    people = [sample.person for sample in samples]
    return Cell(
        run=name,
        split=split,
        ratio=ratio,
        task=task,
        modality=modality,
        metric=METRICS[task][0],
        estimate=Estimate(math.nan, None, len(people), len(set(people)))
        if damaged
        else clustered_mean([sample.score for sample in samples], people),
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
    width: int | None = None,
    allow_unanswered: bool = False,
) -> str:
    """The table as `text`, `markdown`, `csv` or `json`. Raises UserError for another format.

    runs: adds answered rate, shots and seed of each row to text and Markdown, and what is known of the runs to JSON.
    allow_unanswered: shows the numbers of what is not a result, marked as such.
    """
    if form not in FORMATS:
        raise UserError(f"Unknown format '{form}'.{did_you_mean(form, FORMATS)}")
    if form == "json":
        found = {"schema": SCHEMA, "runs": [asdict(run) for run in runs], "cells": [_flat(c) for c in rows]}
        return json_text(found)
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
    heads, body = _lines(rows, runs, allow_unanswered)
    notes = explanations(rows)
    if form == "markdown":
        lines = [heads, ["---"] * len(heads), *([markdown(cell) for cell in line] for line in body)]
        table = "\n".join("| " + " | ".join(line) + " |" for line in lines)
        return "\n".join([table, *(f"\n{markdown(note)}" for note in notes)])
    return _text(heads, body, title, width) + "".join(f"{one_line(note)}\n" for note in notes)


def explanations(rows: Sequence[Cell]) -> list[str]:
    """What the words and marks of the cells stand for: a line for each row and reason."""
    lines = []
    for head, void in ((NOT_A_RESULT, True), (MARK, False)):
        flaws: dict[str, list[Flaw]] = {}
        for cell in rows:
            flaws.setdefault(cell.run, []).extend(flaw for flaw in cell.flaws if flaw.void is void)
        lines += [f"{head}: {line}" if void else f"{head} {line}" for line in explain(flaws)]
    return lines


def _lines(
    rows: Sequence[Cell], runs: Sequence[RunSummary], allow_unanswered: bool
) -> tuple[list[str], list[list[str]]]:
    """Heads and lines of the table, the run's name first."""
    names = list(dict.fromkeys(c.run for c in rows))
    places = sorted({_place(c) for c in rows}, key=_order)
    at = {(c.run, _place(c)): c for c in rows}
    more = rows_of(runs) if runs else {}
    void = {c.run for c in rows if not c.is_result}
    body = [
        [
            f"{name} ({NOT_A_RESULT})" if name in void and allow_unanswered else name,
            *(_number(at.get((name, place)), allow_unanswered) for place in places),
            *more.get(name, ()),
        ]
        for name in names
    ]
    return ["", *map(_label, places), *(ROW_HEADS if runs else ())], body


def _text(heads: list[str], body: list[list[str]], title: str, width: int | None) -> str:
    table = Table(title=title or None, title_justify="left")
    table.add_column("", no_wrap=True)
    for head in heads[1:]:
        table.add_column(head.replace(" ", "\n", 1), justify="right", no_wrap=True)
    for line in body:
        table.add_row(*(Text(one_line(cell)) for cell in line))
    longest = max((len(line[0]) for line in body), default=0)
    console = Console(width=width or 15 * len(heads) + longest + 4, file=io.StringIO(), force_terminal=False)
    console.print(table)
    return console.file.getvalue()


def _place(cell: Cell) -> tuple:
    return cell.split, cell.ratio, cell.task, cell.modality


def _order(place: tuple) -> tuple:
    split, ratio, task, modality = place
    return list(Split).index(split), ratio or 0, list(Task).index(task), modality or ""


def _label(place: tuple) -> str:
    split, ratio, task, modality = place
    head = f"{split}{ARROWS[split]}" if ratio in (None, 5) else f"{split}_{ratio}{ARROWS[split]}"
    return f"{head} {SHORT[task]}" + (f" {modality}" if modality else "")


def _shown(facts: Mapping) -> int | None:
    return len(facts["shot_people"]) if "shot_people" in facts else None


def _number(cell: Cell | None, allow_unanswered: bool) -> str:
    if cell is None:
        return "-"
    if cell.weight > (Weight.SILENCE if allow_unanswered else Weight.PART):
        return NOT_A_RESULT
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
    }
