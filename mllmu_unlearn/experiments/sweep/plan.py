"""Cells -> stages: an `mllmu unlearn` command and an lmms-eval command each."""

import json
import os
import shlex
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

from mllmu_tasks import __version__
from mllmu_tasks.artifacts.folders import write_whole
from mllmu_tasks.artifacts.identity import file_hash, text_hash, weights_fingerprint
from mllmu_tasks.benchmarks.mllmu.spec import group_name
from mllmu_tasks.data.request import hashes
from mllmu_tasks.errors import UserError
from mllmu_tasks.harness.model_args import model_args
from mllmu_tasks.results.runs import load_runs
from mllmu_tasks.results.validity import all_flaws
from mllmu_unlearn.config.commands import UnlearnConfig, parse
from mllmu_unlearn.experiments.runner import Stage
from mllmu_unlearn.experiments.sweep.evaluation import check, leaves_of
from mllmu_unlearn.experiments.sweep.grid import Cell, Evaluation, Sweep, text_of
from mllmu_unlearn.methods import source_hash

SETTINGS = ("MLLMU_SEED", "MLLMU_SHOTS", "MLLMU_SHOT_QUESTIONS")
FIXED = {"TOKENIZERS_PARALLELISM": "false", "PYTHONUNBUFFERED": "1"}


@dataclass(frozen=True)
class SweepFolder:
    """Where things are under the sweep's folder."""

    home: Path

    def recipe(self, cell: str) -> Path:
        return self.home / "recipes" / f"{cell}.yaml"

    def result(self, cell: str) -> Path:
        return self.home / "adapters" / cell

    def scores(self, row: str) -> Path:
        return self.home / "results" / row


@dataclass(frozen=True)
class SweepStages:
    """stages: needs before needers. configs: cell -> its parsed flags."""

    stages: tuple[Stage, ...]
    configs: dict[str, UnlearnConfig]


def make(sweep: Sweep, layout: SweepFolder, *, dry_run: bool = False) -> SweepStages:
    """Check every cell, and lay out what runs. Writes nothing. Raises UserError that names the cell.

    dry_run: flags that only another machine can take pass.
    """
    configs = {cell.name: _parsed(cell, layout, dry_run) for cell in sweep.cells}
    data = {config.data for config in configs.values()}
    if len(data) > 1:
        raise UserError(f"the cells use different data ({', '.join(sorted(data))}); their scores cannot be compared.")
    environment = {**FIXED, "MLLMU_DATA": data.pop()}
    asked = _content(environment["MLLMU_DATA"])
    environment |= {name: os.environ.get(name, "") for name in SETTINGS}
    evaluation = sweep.evaluation and _with_tasks(sweep.evaluation, configs)
    if evaluation:
        check(evaluation)
    stages = []
    for name, model in sweep.references.items() if evaluation else ():
        known = f"{weights_fingerprint(model)} {asked}"
        stages.append(_evaluate(evaluation, layout, name, model, "", (), known, environment))
    for cell in sweep.cells:
        config = configs[cell.name]
        base = config.model_name_or_path
        weights = f"{weights_fingerprint(base, config.revision)} {asked}"
        method = source_hash(type(config.chosen))
        read = " ".join(map(_content, filter(None, (config.train_data, config.hyper_parameters.get("alternates")))))
        stages.append(
            Stage(
                name=f"unlearn-{cell.name}",
                command=(sys.executable, "-m", "mllmu_unlearn.cli.main", *unlearn_arguments(cell, layout)),
                output=layout.result(cell.name),
                identity=f"{__version__} {weights} {method} {read} {text_hash(text_of(cell))}",
                environment=environment,
            )
        )
        if evaluation:
            full = config.kind == "full"
            out = str(layout.result(cell.name))
            model, peft = (out, "") if full else (base, out)
            needs = (f"unlearn-{cell.name}",)
            stages.append(_evaluate(evaluation, layout, cell.name, model, peft, needs, weights, environment))
    return SweepStages(tuple(stages), configs)


def _content(place: str) -> str:
    """Digest of a data folder or a file, which may change under its name; "" for the hub's and the embedded data."""
    path = Path(place)
    if path.is_file():
        return file_hash(path)
    return text_hash(json.dumps(hashes(path))) if path.is_dir() else ""


def write_recipes(sweep: Sweep, layout: SweepFolder) -> None:
    """One complete recipe a cell: each is a run anyone can repeat."""
    for cell in sweep.cells:
        write_whole(layout.recipe(cell.name), text_of(cell))


def unlearn_arguments(cell: Cell, layout: SweepFolder) -> list[str]:
    return ["unlearn", "--config", str(layout.recipe(cell.name)), "--output_dir", str(layout.result(cell.name))]


def command_of(stage: Stage) -> str:
    """The stage's command line, to copy."""
    settings = [f"{key}={shlex.quote(value)}" for key, value in stage.environment.items() if key.startswith("MLLMU_")]
    program = "lmms-eval" if "lmms_eval" in stage.command else "mllmu"
    return " ".join([*(s for s in settings if not s.endswith("=''")), program, shlex.join(stage.command[3:])])


def _parsed(cell: Cell, layout: SweepFolder, dry_run: bool) -> UnlearnConfig:
    with tempfile.TemporaryDirectory() as folder:
        recipe = Path(folder) / f"{cell.name}.yaml"
        recipe.write_text(text_of(cell), encoding="utf-8")
        try:
            flags = ["--config", str(recipe), "--output_dir", str(layout.result(cell.name))]
            config = parse(UnlearnConfig, [*flags, *(["--dry_run"] if dry_run else [])])
            if not dry_run:
                config.check_trackers()
            return config
        except UserError as error:
            raise UserError(f"cell {cell.name}: {str(error).replace(folder + os.sep, '')}") from error


def _with_tasks(evaluation: Evaluation, configs: dict[str, UnlearnConfig]) -> Evaluation:
    ratios = {config.forget_ratio for config in configs.values()}
    known = sorted(ratio for ratio in ratios if ratio is not None)
    tasks = evaluation.tasks
    if len(known) > 1 or (known and None in ratios and tasks is None):
        named = f"ratios {known}" + (" and forget_ids" if None in ratios else "")
        raise UserError(f"the cells forget different people ({named}); make a sweep of each.")
    if tasks is None:
        if ratios == {None}:
            raise UserError(
                "the cells forget people by ids, whom no task asks about: make their data (mllmu data request "
                "--forget_ids ... --out DIR) and say data: DIR and forget_ratio: 5, or name the tasks (evaluate.tasks)."
            )
        tasks = group_name(None, ratios.pop())
    return Evaluation(tasks, evaluation.batch_size, evaluation.model, evaluation.model_args)


def _evaluate(
    evaluation: Evaluation,
    layout: SweepFolder,
    row: str,
    model: str,
    peft: str,
    needs: tuple[str, ...],
    weights: str,
    environment: dict[str, str],
) -> Stage:
    out = layout.scores(row)
    arguments = [
        *("--model", evaluation.model, "--model_args", model_args(evaluation.model_args, pretrained=model, peft=peft)),
        *("--tasks", evaluation.tasks, "--batch_size", str(evaluation.batch_size)),
        *("--log_samples", "--output_path", str(out)),
    ]
    wanted = evaluation.tasks.split(",")
    return Stage(
        name=f"evaluate-{row}",
        command=(sys.executable, "-m", "lmms_eval", *arguments),
        output=out,
        needs=needs,
        identity=f"{__version__} {weights}",
        environment=environment,
        check=lambda: complete(out, wanted),
    )


def complete(folder: Path, tasks: list[str]) -> None:
    """Raises UserError unless the folder holds one run in which every wanted leaf has a scored question."""
    run = load_runs([folder])[-1]
    scored = {sample.leaf.name for sample in run.samples}
    missing = [leaf for task in tasks for leaf in leaves_of(task) if leaf not in scored]
    if missing:
        raise UserError(f"no question of {', '.join(missing)} was scored.")
    void = [flaw for flaw in all_flaws([run]) if flaw.void]
    if void:
        raise UserError(f"what was evaluated is no result: {void[0]}.")
