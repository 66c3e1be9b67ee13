"""`mllmu baseline save|show`: pin the results that later checkpoints are compared with."""

from pathlib import Path
from typing import Annotated

import typer

from mllmu_tasks.errors import UserError

app = typer.Typer(help="Pin results to compare later checkpoints with.", no_args_is_help=True)


def add_to(parent: typer.Typer) -> None:
    parent.add_typer(app, name="baseline")


@app.command()
def save(
    results: Annotated[list[Path], typer.Argument(help="Complete output of lmms-eval for one model.")],
    out: Annotated[Path, typer.Option(help="The folder to make; keep it as a CI artefact or in the repository.")],
    name: Annotated[str, typer.Option(help="What it is called; default: the model's folder.")] = "",
    replace: Annotated[bool, typer.Option("--replace", help="Take the place of an earlier baseline.")] = False,
) -> None:
    """Copy results and logged samples into one folder with a list of their hashes; refuses incomplete runs."""
    from mllmu_tasks.results.gate import pinned, rescored
    from mllmu_tasks.results.gate.evaluation import grouped, open_side
    from mllmu_tasks.results.gate.policy import Policy
    from mllmu_tasks.text_safety import one_line

    side = open_side("baseline", results, Policy(rules=()).least_answered)
    if problems := [*side.problems, *rescored.problems(side)]:
        raise UserError(f"not saved, since nothing could be compared with it: {'; '.join(grouped(problems))}.")
    manifest = pinned.save(side.runs, out, name=name, replace=replace)
    print(one_line(f"saved {manifest.name}: {len(manifest.files)} files in {out}"))
    print(one_line(f"use it with: mllmu check RESULTS --baseline {out}"))


@app.command()
def show(folder: Annotated[Path, typer.Argument(help="A folder made by `mllmu baseline save`.")]) -> None:
    """Print what is pinned and its scores; exits 2 if a file was changed after saving."""
    from mllmu_tasks.results.gate import pinned
    from mllmu_tasks.results.gate.evaluation import side_of
    from mllmu_tasks.results.gate.identity import identity_of
    from mllmu_tasks.results.gate.policy import Policy
    from mllmu_tasks.results.runs import load_run, results_files
    from mllmu_tasks.results.tables.table import cells, render
    from mllmu_tasks.text_safety import one_line

    manifest = pinned.verify(folder)
    if manifest is None:
        raise UserError(
            f"'{folder}' is no pinned baseline; make one with `mllmu baseline save RESULTS --out {folder}`."
        )
    runs = [load_run(file) for file in results_files(folder)]
    facts = [found for run in runs for found in run.facts.values()]
    print(one_line(f"{manifest.name}: {manifest.model} {manifest.model_args}"))
    print(one_line(f"saved {manifest.saved} by mllmu {manifest.version}, {len(manifest.files)} files unchanged"))
    for key in ("data", "seed", "shots", "shot_questions"):
        values = sorted({str(found.get(key)) for found in facts})
        if values:
            print(one_line(f"{key}: {', '.join(values)}"))
    for key in ("whole_data", "scoring"):
        print(one_line(f"{key}: {', '.join(sorted({str(found.get(key)) for found in facts}))}"))
    answered = identity_of(side_of("baseline", tuple(runs), Policy(rules=()).least_answered))[0]
    print(one_line(f"weights: {answered.weights if answered else 'not recorded'}"))
    print(one_line("data hashes: " + ", ".join(sorted({str(found.get("data_hash"))[:12] for found in facts}))))
    found = cells(runs, name=manifest.name)
    if found:
        print(render(found, "text"))
    others = sorted(task for run in runs for task in run.other_results)
    if others:
        print(one_line(f"other benchmarks: {', '.join(others)}"))
