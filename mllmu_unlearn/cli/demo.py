"""`mllmu demo`: mini benchmark, vanilla, retain-only, five methods, one table; resumable."""

import os
import shutil
import time
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from mllmu_tasks.artifacts.folders import write_whole
from mllmu_tasks.artifacts.identity import file_hash
from mllmu_tasks.artifacts.only_writer import only_writer
from mllmu_unlearn.experiments import own_folder
from mllmu_unlearn.experiments.display import Bars
from mllmu_unlearn.experiments.runner import Runner

COMMAND = "mllmu demo"


def add_to(app: typer.Typer) -> None:
    app.command("demo", help="Unlearn nine people of the mini benchmark with five methods; print one table.")(demo)


def demo(
    out: Annotated[Path, typer.Option(help="Adapters, results and logs go here.")] = Path("mllmu-demo"),
    from_scratch: Annotated[
        bool,
        typer.Option("--from-scratch", help="Train base, vanilla and retain-only here, too (20 minutes)."),
    ] = False,
) -> None:
    from mllmu_unlearn.experiments.demo import METHODS, MODELS, DemoFolder, evaluation_command, plan, unlearning_command

    began = time.monotonic()
    folder, rows = DemoFolder(out), (*MODELS, *METHODS)
    commands = [*(unlearning_command(folder, m) for m in METHODS), *(evaluation_command(folder, r) for r in rows)]
    own_folder.mark(out, COMMAND)
    workers, cores = _workers()
    console = Console()
    console.print(
        f"mllmu demo: everything goes to {out} (logs in {out / 'logs'}); Ctrl-C keeps what is finished.", soft_wrap=True
    )
    write_whole(out / "commands.sh", "\n".join(commands) + "\n")
    try:
        if from_scratch:
            folder.scratch.prepare()
            stages = plan(folder, workers=workers, cores=cores)
        else:
            stages = plan(folder, workers=workers, cores=cores, models=_shipped(folder))
        with only_writer(out), Bars(console, len(stages)) as display:
            seconds = Runner(stages, out, display, workers).run()
    except KeyboardInterrupt:
        console.print(f"\nStopped. Finished stages are kept in {out}; the same command goes on from there.")
        raise typer.Exit(130) from None
    _show(console, folder, rows, seconds)
    console.print(f"{time.monotonic() - began:.0f} s. Adapters, results and the commands of every row: {out}")


def _show(console: Console, folder, rows: tuple[str, ...], seconds: dict[str, float]) -> None:
    from mllmu_tasks.results.runs import load_runs
    from mllmu_tasks.results.tables.table import cells, render
    from mllmu_unlearn.experiments.demo import METHODS, evaluation_command

    found = [c for row in rows for c in cells(load_runs([folder.results(row)])[-1:], name=row)]
    write_whole(folder.home / "table.md", render(found, "markdown") + "\n")
    write_whole(folder.home / "table.json", render(found, "json") + "\n")
    print(render(found, "text"))
    console.print(
        "Mean score, ± standard error clustered by person. cls and cloze are accuracies, gen is ROUGE-L;\n"
        "image and text pooled. Forget and test should fall to retain_only, retain and real stay at vanilla.",
        soft_wrap=True,
    )
    console.print("\nThe command of each row:")
    for row in rows:
        training = f" (unlearning took {seconds[f'unlearn-{row}']:.0f} s)" if row in METHODS else ""
        console.print(f"\n# {row}{training}")
        console.print(evaluation_command(folder, row), soft_wrap=True, highlight=False)


def _shipped(folder) -> str:
    """Put the shipped checkpoints in place; returns a hash of their weights."""
    from mllmu_tasks.benchmarks.mini import checkpoint
    from mllmu_unlearn.experiments.demo import MODELS

    for name in MODELS:
        if _digest(folder.model(name)) != _digest(checkpoint(name)):
            shutil.rmtree(folder.model(name), ignore_errors=True)
            shutil.copytree(checkpoint(name), folder.model(name))
    return " ".join(_digest(folder.model(name)) for name in MODELS)


def _digest(folder: Path) -> str:
    weights = folder / "model.safetensors"
    return file_hash(weights) if weights.exists() else ""


def _workers() -> tuple[int, int]:
    """Stages at a time, and cores: half of a run is start-up on one core, so two overlap well."""
    import torch

    cores = os.cpu_count() or 1
    workers = 1 if torch.cuda.is_available() or cores < 2 else 2
    return workers, cores
