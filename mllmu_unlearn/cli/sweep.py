"""`mllmu sweep`: a grid over methods and hyper-parameters, resumable, one row each in a table."""

import os
import time
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from mllmu_tasks.artifacts.folders import write_whole
from mllmu_tasks.artifacts.only_writer import only_writer
from mllmu_tasks.errors import UserError
from mllmu_unlearn.experiments import own_folder
from mllmu_unlearn.experiments.display import Bars
from mllmu_unlearn.experiments.runner import Runner, Stage

COMMAND = "mllmu sweep"


def add_to(app: typer.Typer) -> None:
    app.command("sweep", help="Run a grid of unlearning methods and hyper-parameters; print one table.")(sweep)


def sweep(
    file: Annotated[Path, typer.Argument(help="The sweep's YAML; docs/sweeps.md describes it.")],
    out: Annotated[Path | None, typer.Option(help="Results go here. Default: sweeps/<name of the file>.")] = None,
    markdown: Annotated[
        Path | None, typer.Option(help="Also put the table into this document, between the sweep's marks.")
    ] = None,
    workers: Annotated[int, typer.Option(min=0, max=1000, help="Runs at a time; 0: one a GPU, two without.")] = 0,
    dry_run: Annotated[
        bool, typer.Option("--dry_run", "--dry-run", help="Check every cell, print what would run, and stop.")
    ] = False,
) -> None:
    from mllmu_unlearn.experiments.sweep import grid, output, plan

    token = os.environ.pop("HF_TOKEN", None)  # lmms-eval logs it under this name
    if token:
        os.environ["HUGGING_FACE_HUB_TOKEN"] = token
    began = time.monotonic()
    console = Console()
    chosen = grid.read(_shipped(file))
    layout = plan.SweepFolder(out or Path("sweeps") / chosen.name)
    own_folder.check(layout.home, COMMAND)
    if markdown:
        output.check_block(markdown, f"sweep {chosen.name}")
    planned = plan.make(chosen, layout, dry_run=dry_run)
    places = _places(workers, any(config.accelerate_config for config in planned.configs.values()))
    if chosen.left_out:
        console.print(f"mllmu sweep: no recipe for {', '.join(chosen.left_out)}: left out.", soft_wrap=True)
    table = _Table(chosen, layout)
    display = _Rows(console, planned.stages, table)
    runner = Runner(planned.stages, layout.home, display, len(places), keep_going=True, places=places)
    done = runner.finished()
    if dry_run:
        for stage in planned.stages:
            print(f"{'finished ' if stage.name in done else 'would run'} {stage.name}\n    {plan.command_of(stage)}")
        print(f"{len(chosen.cells)} cells; {len(planned.stages) - len(done)} of {len(planned.stages)} stages would run")
        return
    console.print(
        f"mllmu sweep: {len(chosen.cells)} cells, {len(done)} of {len(planned.stages)} stages finished; everything "
        f"goes to {layout.home}; Ctrl-C keeps what is finished.",
        soft_wrap=True,
    )
    own_folder.mark(layout.home, COMMAND)
    plan.write_recipes(chosen, layout)
    try:
        with only_writer(layout.home), display:
            runner.run()
    except KeyboardInterrupt:
        console.print(f"\nStopped. Finished cells are kept in {layout.home}; the same command goes on from there.")
        raise typer.Exit(130) from None
    table.write(runner.failed)
    print(table.text(), end="")
    console.print(f"{time.monotonic() - began:.0f} s. Tables, adapters, results and recipes: {layout.home}")
    if markdown:
        table.put_into(markdown, file)
    if runner.failed:
        reasons = "; ".join(reason for reason in runner.failed.values() if not reason.startswith("needs "))
        raise UserError(f"{len(runner.failed)} of {len(planned.stages)} stages have no result: {reasons}")


def _shipped(file: Path) -> Path:
    """A file, or the name of a sweep of this package."""
    from mllmu_unlearn.recipes import shipped_recipe

    return file if file.exists() else shipped_recipe(f"sweeps/{file}") or file


def _places(workers: int, spread: bool) -> list[dict[str, str]]:
    """The environment of each worker: a GPU of its own, or its share of the cores; spread: one has all GPUs."""
    import torch

    if spread:
        return [{}]
    gpus, cores = torch.cuda.device_count(), os.cpu_count() or 1
    count = workers or gpus or min(2, cores)  # half of a run is start-up on one core, so two overlap well
    threads = str(max(1, cores // count))
    return [
        {"OMP_NUM_THREADS": threads} | ({"CUDA_VISIBLE_DEVICES": str(place % gpus)} if gpus else {})
        for place in range(count)
    ]


class _Table:
    """The rows of what is finished, read once each and written anew after every finished stage."""

    def __init__(self, chosen, layout) -> None:
        self.sweep, self.layout = chosen, layout
        self.runs: dict[str, object] = {}
        self.made: list = []

    def write(self, failed: dict[str, str]) -> None:
        from mllmu_tasks.results.tables.table import cells, render
        from mllmu_unlearn.experiments.sweep import output
        from mllmu_unlearn.experiments.sweep.rows import Row, row

        vanilla = self.runs.get(next(iter(self.sweep.references), ""))
        self.made = [row(name, self.runs[name], None, None) for name in self.sweep.references if name in self.runs]
        for cell in self.sweep.cells:
            lost = failed.get(f"unlearn-{cell.name}") or failed.get(f"evaluate-{cell.name}")
            if lost:
                self.made.append(Row(cell.name, failed=lost))
            elif cell.name in self.runs:
                folder = self.layout.result(cell.name)
                self.made.append(row(cell.name, self.runs[cell.name], folder, vanilla))
        home = self.layout.home
        write_whole(home / "table.json", output.as_json(self.made) + "\n")
        write_whole(home / "table.csv", output.as_csv(self.made))
        details = [c for name, run in self.runs.items() if run for c in cells([run], name=name)]
        write_whole(home / "table.md", f"{output.markdown(self.made)}\n\n{render(details, 'markdown')}\n")

    def add(self, name: str) -> None:
        """Take up a finished stage."""
        from mllmu_tasks.results.runs import load_runs

        kind, _, row = name.partition("-")
        if kind == "evaluate":
            self.runs[row] = load_runs([self.layout.scores(row)])[-1]
        elif self.sweep.evaluation is None:
            self.runs[row] = None

    def text(self) -> str:
        from mllmu_unlearn.experiments.sweep.output import text

        return text(self.made)

    def put_into(self, file: Path, source: Path) -> None:
        from mllmu_unlearn.experiments.sweep.output import machine, markdown, replace_block

        command = f"`mllmu sweep {source} --markdown {file}`"
        legend = (
            f"Made by {command} ({machine()}). Scores are means over the tasks, image and text pooled, ± standard "
            "error clustered by person; time is that of the unlearning itself, without start-up."
        )
        replace_block(file, f"sweep {self.sweep.name}", f"{markdown(self.made)}\n\n{legend}")


class _Rows(Bars):
    """The bars, and the table on disk kept up with them."""

    def __init__(self, console: Console, stages: tuple[Stage, ...], table: _Table) -> None:
        super().__init__(console, len(stages))
        self.table, self.failed = table, {}

    def finish(self, stage: Stage, seconds: float, reused: bool) -> None:
        super().finish(stage, seconds, reused)
        self.table.add(stage.name)
        self.table.write(self.failed)

    def fail(self, stage: Stage, reason: str) -> None:
        super().fail(stage, reason)
        self.failed[stage.name] = reason
        self.table.write(self.failed)
