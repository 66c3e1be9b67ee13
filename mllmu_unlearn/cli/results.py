"""`mllmu results`: one table from one or many lmms-eval output folders."""

import sys
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
) -> None:
    from mllmu_tasks.results.runs import load_runs
    from mllmu_tasks.results.table import cells, differences, render

    runs = load_runs(folders)
    differ = differences(runs)
    if differ and not allow_differences:
        raise UserError(f"these runs cannot be compared ({'; '.join(differ)}); --allow-differences shows them anyway.")
    print(render([c for run in runs for c in cells(run, pooled=not modalities)], form))
    for run in runs:
        rate = run.answered_rate
        if rate is not None and rate < 1:
            silent = sum(not s.answered for s in run.samples)
            print(f"{run.name}: {silent} of {len(run.samples)} questions not answered", file=sys.stderr)
