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
    allow_unanswered: Annotated[
        bool, typer.Option(help="Show scores of lmms-eval's own backends even where questions were not answered.")
    ] = False,
) -> None:
    from mllmu_tasks.results.comparable import differences, row_names
    from mllmu_tasks.results.runs import load_runs
    from mllmu_tasks.results.summary import summarise
    from mllmu_tasks.results.table import cells, render

    runs = load_runs(folders)
    differ = differences(runs)
    if differ and not allow_differences:
        raise UserError(f"these runs cannot be compared ({'; '.join(differ)}); --allow-differences shows them anyway.")
    named = list(zip(runs, row_names(runs), strict=True))
    found = [c for run, name in named for c in cells(run, pooled=not modalities, name=name)]
    summaries = [summarise(run, name) for run, name in named]
    print(render(found, form, runs=summaries, allow_unanswered=allow_unanswered))
    for sentence in differ:
        print(f"mllmu: not the same in all runs: {sentence}", file=sys.stderr)
    for run in summaries:
        if run.unanswered:
            print(f"mllmu: {run.name}: {run.unanswered} of {run.questions} questions not answered", file=sys.stderr)
    if not allow_unanswered and not all(run.is_result for run in summaries):
        raise UserError(
            "a backend of lmms-eval left questions without an answer, which is no forgetting; evaluate with --model "
            "mllmu_hf (docs/backends.md says which backend can do what), or add --allow-unanswered to see the scores."
        )
