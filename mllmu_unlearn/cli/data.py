"""`mllmu data`: what a data set holds, what is wrong with it, mini benchmarks, and the data of named people."""

from collections.abc import Sized
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from mllmu_tasks.errors import UserError

if TYPE_CHECKING:
    from mllmu_tasks.benchmarks.mllmu.validate import Report

app = typer.Typer(
    help="Look at a data set, check it, or make one: a mini benchmark, or of named people.", no_args_is_help=True
)

LONGEST = 600

Data = Annotated[str, typer.Argument(help="Hub id, folder in the hub layout, or mini. Default: MLLMU_DATA.")]


@app.command()
def info(data: Data = "") -> None:
    """Print the questions per config, split, task and modality, and every defect; exits 2 if nothing can be read."""
    if not _print_report(data).configs:
        raise typer.Exit(2)


@app.command()
def validate(data: Data = "") -> None:
    """Like info; exits 2 if the data set is structurally wrong."""
    if _print_report(data).structural:
        raise typer.Exit(2)


@app.command()
def mini(
    out: Annotated[Path, typer.Option(help="The folder to make; it must not exist.")],
    people: Annotated[int, typer.Option(help="Fictitious people.", min=20)] = 60,
    celebrities: Annotated[int, typer.Option(help="'Real' people.", min=1)] = 12,
    seed: Annotated[int, typer.Option(help="Equal seeds make equal people.")] = 0,
) -> None:
    """Make a mini benchmark of drawn people, in the layout of the hub data set."""
    from mllmu_tasks.benchmarks.registry import default_benchmark

    if out.exists():
        raise UserError(f"'{out}' exists already; choose another --out or remove it.")
    default_benchmark().generate(out, people=people, seed=seed, celebrities=celebrities)
    print(f"{people} people and {celebrities} celebrities in {out}; use it with MLLMU_DATA={out}")


@app.command()
def request(
    out: Annotated[Path, typer.Option(help="The folder to make.")],
    forget_ids: Annotated[
        str | None, typer.Option("--forget_ids", "--forget-ids", help="The people: ids with commas, or a file of ids.")
    ] = None,
    adapter: Annotated[
        str | None, typer.Option(help="Instead: whom this result of `mllmu unlearn --forget_ids` forgot.")
    ] = None,
    data: Annotated[
        str | None, typer.Option(help="Hub id, folder in the hub layout, or mini. Default: the adapter's; MLLMU_DATA.")
    ] = None,
) -> None:
    """Make the data that ask whether named people are forgotten: mllmu_forget is about exactly them."""
    from mllmu_tasks.benchmarks.registry import default_benchmark
    from mllmu_tasks.data import request as requests
    from mllmu_tasks.names import last_part
    from mllmu_unlearn.output.next_commands import evaluation, opened_by

    if (forget_ids is None) == (adapter is None):
        raise UserError("whose data? Give --forget_ids 009,032 or --adapter FOLDER, one of them.")
    if adapter is None:
        source = default_benchmark().source(data or "")
        ids, given = requests.id_list(forget_ids), "pretrained=MODEL,peft=ADAPTER"
    else:
        record = requests.of_adapter(adapter)
        source = requests.source_of(record, adapter, data)
        ids, given = requests.named_people(record), opened_by(record, adapter)
    made = requests.write(source, ids, out)
    size = sum(file.stat().st_size for file in out.rglob("*.parquet")) / 2**20
    print(
        f"{out} {'is made' if made.made else 'was there already, unchanged'}: forget_5 holds {len(made.forget)} and "
        f"retain_95 {len(made.retain)} people, {size:.1f} MiB in all"
    )
    if made.untested:
        print(
            f"note: mllmu_test cannot ask about {', '.join(made.untested)}: not in Test_Set of {source.name}; "
            "MLLMU_MAY_LOSE=1 lets it ask about the others"
        )
    print(f"to ask about them:\n    {evaluation(str(out), given, last_part(str(out)))}")


def _print_report(data: str) -> "Report":
    from rich.console import Console
    from rich.table import Table

    from mllmu_tasks.benchmarks.registry import default_benchmark

    benchmark = default_benchmark()
    source = benchmark.source(data)
    console = Console()
    with console.status("reading") as status:
        report = benchmark.validate(source, lambda config: status.update(f"reading {config}"))
    table = Table(title=f"{source.name}: questions that can be scored", title_justify="left")
    pairs = [(task.name, modality) for task in benchmark.tasks for modality in benchmark.modalities]
    for head in ("config", "people", *(f"{task[:5]}\n{modality}" for task, modality in pairs), "training\npairs"):
        table.add_column(head, justify="left" if head == "config" else "right", no_wrap=True)
    for row in report.configs:
        counts = [str(row.questions.get(pair, 0)) if row.questions else "-" for pair in pairs]
        table.add_row(row.config, str(row.people), *counts, str(row.pairs) if row.pairs else "-")
    console.print(table)
    for kind, sentences in (
        ("note", report.notes),
        ("defect", report.defects),
        ("structural error", report.structural),
    ):
        for sentence in sentences:
            print(f"{kind}: {_one_line(str(sentence))}")
    print(f"{_counted(report.structural, 'structural error')}, {_counted(report.defects, 'defect')}")
    return report


def _one_line(text: str) -> str:
    """Texts of the data are quoted in what is wrong with them: one line, no control character, at most LONGEST."""
    text = "".join(c if c.isprintable() else " " for c in text[: LONGEST + 1])
    return text if len(text) <= LONGEST else f"{text[:LONGEST]} [cut]"


def _counted(found: Sized, noun: str) -> str:
    return f"{len(found)} {noun}{'' if len(found) == 1 else 's'}"
