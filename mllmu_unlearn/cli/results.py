"""`mllmu results`: one table from one or many lmms-eval output folders."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from mllmu_tasks.errors import UserError, did_you_mean, quoted

if TYPE_CHECKING:
    from mllmu_tasks.results.runs import Run


def add_to(app: typer.Typer) -> None:
    app.command("results", help="One table from lmms-eval output folders, with clustered standard errors.")(results)


def results(
    folders: Annotated[list[Path], typer.Argument(help="Output folders or *_results.json files of lmms-eval.")],
    form: Annotated[str, typer.Option("--format", help="text, markdown, csv or json.")] = "text",
    metric: Annotated[
        str | None, typer.Option(help="A metric in the place of each task's score, one that was joined among them.")
    ] = None,
    modalities: Annotated[bool, typer.Option(help="Image and text questions in columns of their own.")] = False,
    allow_differences: Annotated[
        bool, typer.Option(help="Compare runs made with different data, seeds, shots or prompt styles.")
    ] = False,
    allow_unanswered: Annotated[
        bool, typer.Option(help="Show scores of lmms-eval's own backends even where questions were not answered.")
    ] = False,
) -> None:
    from mllmu_tasks.results.runs import load_runs
    from mllmu_tasks.results.tables.comparable import differences, row_names
    from mllmu_tasks.results.tables.summary import summarise
    from mllmu_tasks.results.tables.table import cells, known_metrics, render
    from mllmu_tasks.results.validity import Weight, row_flaws
    from mllmu_tasks.text_safety import one_line

    runs = load_runs(folders)
    differ = differences(runs)
    if differ and not allow_differences:
        raise UserError(f"these runs cannot be compared ({'; '.join(differ)}); --allow-differences shows them anyway.")
    rows: dict[str, list[Run]] = {}
    for run, name in zip(runs, row_names(runs), strict=True):
        rows.setdefault(name, []).append(run)
    if metric and metric not in known_metrics(runs):
        raise UserError(
            f"no task of these results has a metric {quoted(metric)}.{did_you_mean(metric, known_metrics(runs))}"
        )
    numbers = [
        cell for name, group in rows.items() for cell in cells(group, pooled=not modalities, name=name, metric=metric)
    ]
    flaws = {name: row_flaws(group) for name, group in rows.items()}
    summaries = [summarise(run, name, flaws[name]) for name, group in rows.items() for run in group]
    print(render(numbers, form, runs=summaries, allow_unanswered=allow_unanswered))
    words = [f"not the same in all runs: {sentence}" for sentence in differ]
    words += [
        f"{run.name}: {run.unanswered} of {run.questions} questions not answered" for run in summaries if run.unanswered
    ]
    words += [
        f"{name}: {task} is no task that this version knows: it stands in no table"
        for name, group in rows.items()
        for run in group
        for task in run.unknown
    ]
    for sentence in words:
        print(f"mllmu: {one_line(sentence)}", file=sys.stderr)
    weight = max((cell.weight for cell in numbers), default=0)
    if weight == Weight.DAMAGE:
        damaged = [flaw for cell in numbers for flaw in cell.flaws if flaw.weight is Weight.DAMAGE]
        leaves = len({flaw.leaf for flaw in damaged})
        raise UserError(
            f"what was logged of {leaves} tasks is not a result, first {damaged[0]}; evaluate them again, or give the "
            "folder of one whole run."
        )
    if weight == Weight.SILENCE and not allow_unanswered:
        raise UserError(
            "a backend of lmms-eval left questions without an answer, which is no forgetting; evaluate with --model "
            "mllmu_hf (docs/backends.md says which backend can do what), or add --allow-unanswered to see the scores."
        )
