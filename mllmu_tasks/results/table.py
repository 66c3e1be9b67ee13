"""Runs -> one table: methods x splits x tasks, with standard errors clustered by person."""

import csv
import io
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass

from rich.console import Console
from rich.markup import escape as without_markup
from rich.table import Table

from mllmu_tasks.benchmark import METRICS, Modality, Split, Task
from mllmu_tasks.errors import UserError, did_you_mean
from mllmu_tasks.results.runs import Run
from mllmu_tasks.results.statistics import Estimate, clustered_mean
from mllmu_tasks.results.summary import ROW_HEADS, RunSummary, rows_of

FORMATS = ("text", "markdown", "csv", "json")
SCHEMA = 1
SHORT = {Task.CLASSIFICATION: "cls", Task.GENERATION: "gen", Task.CLOZE: "cloze"}
ARROWS = {Split.FORGET: "↓", Split.TEST: "↓", Split.RETAIN: "↑", Split.REAL: "↑"}
NOT_A_RESULT = "not a result"


@dataclass(frozen=True)
class Cell:
    """One number: the mean `score` of a task on a split; modality None pools image and text questions.

    answered: rate of questions with an answer. shots: people shown as examples; seed: of their draw and of the test
    pictures; both None if the results file does not say. is_result: see `Run.is_result`.
    """

    run: str
    split: Split
    ratio: int | None
    task: Task
    modality: Modality | None
    metric: str
    estimate: Estimate
    answered: float
    is_result: bool = True
    shots: int | None = None
    seed: int | None = None


def cells(run: Run, *, pooled: bool = True, name: str | None = None) -> list[Cell]:
    """The cells of one run in the order of its leaves; `pooled` joins the two modalities of a task."""
    groups: dict[tuple, list] = {}
    for sample in run.samples:
        leaf = sample.leaf
        key = (leaf.split, leaf.ratio, leaf.task, None if pooled else leaf.modality)
        groups.setdefault(key, []).append(sample)
    return [
        Cell(
            run=name or run.name,
            split=split,
            ratio=ratio,
            task=task,
            modality=modality,
            metric=METRICS[task][0],
            estimate=clustered_mean([s.score for s in group], [s.person for s in group]),
            answered=sum(s.answered for s in group) / len(group),
            is_result=run.is_result,
            shots=_shown(run.facts[group[0].leaf.name]),
            seed=run.facts[group[0].leaf.name].get("seed"),
        )
        for (split, ratio, task, modality), group in groups.items()
    ]


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
        return json.dumps(found, indent=2, ensure_ascii=False)
    if form == "csv":
        out = io.StringIO()
        writer = csv.DictWriter(out, fieldnames=list(_flat(rows[0])) if rows else [], lineterminator="\n")
        writer.writeheader()
        writer.writerows(map(_flat, rows))
        return out.getvalue()
    heads, body = _lines(rows, runs, allow_unanswered)
    if form == "markdown":
        lines = [heads, ["---"] * len(heads), *body]
        return "\n".join("| " + " | ".join(escape(x) for x in line) + " |" for line in lines)
    return _text(heads, body, title, width)


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
        table.add_row(*map(without_markup, line))
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
    if not cell.is_result and not allow_unanswered:
        return NOT_A_RESULT
    error = "" if cell.estimate.stderr is None else f" ±{cell.estimate.stderr:.2f}".replace("±0.", "±.")
    return f"{cell.estimate.mean:.2f}{error}"


def escape(text: str) -> str:
    """Names of folders are not ours: a bar would break the table and a tag would render."""
    return text.replace("|", "\\|").replace("<", "&lt;")


def _flat(cell: Cell) -> dict:
    values = asdict(cell)
    return {**{k: v for k, v in values.items() if k != "estimate"}, **values["estimate"]}
