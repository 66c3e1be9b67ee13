"""`mllmu results`: one table from one or many lmms-eval output folders."""

import sys
from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer

from mllmu_tasks.errors import UserError


def add_to(app: typer.Typer) -> None:
    app.command("results", help="One table from lmms-eval output folders, with clustered standard errors.")(results)


def results(
    folders: Annotated[list[Path], typer.Argument(help="Output folders or *_results.json files of lmms-eval.")],
    form: Annotated[str, typer.Option("--format", help="text, markdown, csv or json.")] = "text",
    modalities: Annotated[bool, typer.Option(help="Image and text questions in columns of their own.")] = False,
    allow_differences: Annotated[
        bool, typer.Option(help="Compare runs made with different data, seeds, shots or prompt styles.")
    ] = False,
    allow_unanswered: Annotated[
        bool, typer.Option(help="Show scores of lmms-eval's own backends even where questions were not answered.")
    ] = False,
) -> None:
    from mllmu_tasks.results.runs import load_runs
    from mllmu_tasks.results.table import cells, differences, render

    runs = load_runs(folders)
    differ = differences(runs)
    if differ and not allow_differences:
        raise UserError(f"these runs cannot be compared ({'; '.join(differ)}); --allow-differences shows them anyway.")
    found = [c for run in runs for c in cells(run, pooled=not modalities)]
    if allow_unanswered:
        found = [replace(cell, is_result=True) for cell in found]
    print(render(found, form))
    for run in runs:
        silent = sum(not s.answered for s in run.samples)
        if silent:
            print(f"{run.name}: {silent} of {len(run.samples)} questions not answered", file=sys.stderr)
    if not all(cell.is_result for cell in found):
        raise UserError(
            "a backend of lmms-eval left questions without an answer, which is no forgetting; evaluate with --model "
            "mllmu_hf (docs/backends.md says what which backend can), or add --allow-unanswered to see the scores."
        )
