"""Runs -> one table: methods x splits x tasks, with standard errors clustered by person."""

import csv
import io
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass

from rich.console import Console
from rich.table import Table

from mllmu_tasks.benchmark import METRICS, Modality, Split, Task
from mllmu_tasks.errors import UserError, did_you_mean
from mllmu_tasks.results.runs import Run
from mllmu_tasks.results.statistics import Estimate, clustered_mean

FORMATS = ("text", "markdown", "csv", "json")
SCHEMA = 1
SHORT = {Task.CLASSIFICATION: "cls", Task.GENERATION: "gen", Task.CLOZE: "cloze"}
ARROWS = {Split.FORGET: "↓", Split.TEST: "↓", Split.RETAIN: "↑", Split.REAL: "↑"}
# What must agree before two runs may stand in one table. Data and its hash are compared leaf by leaf.
COMPARED = ("data_hash", "seed", "shots", "shot_questions")


@dataclass(frozen=True)
class Cell:
    """One number: the mean `score` of a task on a split; modality None pools image and text questions.

    is_result: False if a backend that may hide failures left questions without an answer.
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
            is_result=all(s.answered for s in group) or not run.may_hide_failures,
        )
        for (split, ratio, task, modality), group in groups.items()
    ]


def differences(runs: Sequence[Run]) -> list[str]:
    """One sentence for every setting in which runs of the same leaf differ; empty if they may be compared."""
    found = {}
    for run in runs[1:]:
        for leaf in set(run.facts) & set(runs[0].facts):
            for key in COMPARED:
                here, there = runs[0].facts[leaf].get(key), run.facts[leaf].get(key)
                if here != there:
                    found[key, run.name] = f"{key}: {runs[0].name} has {here}, {run.name} has {there}"
        if runs[0].prompt_style != run.prompt_style:
            found["prompt_style", run.name] = (
                f"prompt_style: {runs[0].name} has {runs[0].prompt_style}, {run.name} has {run.prompt_style}"
            )
    ratios = {leaf.ratio for run in runs for leaf in run.leaves if leaf.ratio}
    if len(ratios) > 1:
        found["ratio"] = f"forget ratio: {sorted(ratios)} are different people"
    return list(found.values())


def render(rows: Sequence[Cell], form: str, *, title: str = "", width: int | None = None) -> str:
    """The table as `text`, `markdown`, `csv` or `json`. Raises UserError for another format."""
    if form not in FORMATS:
        raise UserError(f"Unknown format '{form}'.{did_you_mean(form, FORMATS)}")
    if form == "json":
        return json.dumps({"schema": SCHEMA, "cells": [_flat(c) for c in rows]}, indent=2)
    if form == "csv":
        out = io.StringIO()
        writer = csv.DictWriter(out, fieldnames=list(_flat(rows[0])) if rows else [])
        writer.writeheader()
        writer.writerows(map(_flat, rows))
        return out.getvalue()
    names = list(dict.fromkeys(c.run for c in rows))
    heads = sorted({_place(c) for c in rows}, key=_order)
    at = {(c.run, _place(c)): c for c in rows}
    labels = [_label(h) for h in heads]
    body = [[name, *(_number(at.get((name, h))) for h in heads)] for name in names]
    if form == "markdown":
        lines = [["", *labels], ["---"] * (len(labels) + 1), *body]
        return "\n".join("| " + " | ".join(escape(x) for x in line) + " |" for line in lines)
    table = Table(title=title or None, title_justify="left")
    table.add_column("", no_wrap=True)
    for label in labels:
        table.add_column(label.replace(" ", "\n", 1), justify="right", no_wrap=True)
    for line in body:
        table.add_row(*line)
    longest = max((len(name) for name in names), default=0)
    console = Console(width=width or 14 * len(heads) + longest + 4, file=io.StringIO(), force_terminal=False)
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


def _number(cell: Cell | None) -> str:
    if cell is None:
        return "-"
    if not cell.is_result:
        return "no result"
    error = "" if cell.estimate.stderr is None else f" ±{cell.estimate.stderr:.2f}".replace("±0.", "±.")
    return f"{cell.estimate.mean:.2f}{error}"


def escape(text: str) -> str:
    """Names of folders are not ours: a bar would break the table and a tag would render."""
    return text.replace("|", "\\|").replace("<", "&lt;")


def _flat(cell: Cell) -> dict:
    values = asdict(cell)
    return {**{k: v for k, v in values.items() if k != "estimate"}, **values["estimate"]}
