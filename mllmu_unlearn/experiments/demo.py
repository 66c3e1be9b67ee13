"""What the demo runs: models, adapters, and one lmms-eval command a row of the table."""

import shlex
import sys
from dataclasses import dataclass
from pathlib import Path

from mllmu_tasks import __version__
from mllmu_tasks.artifacts.identity import file_hash
from mllmu_tasks.benchmarks.mllmu.spec import Leaf, leaves
from mllmu_tasks.errors import UserError
from mllmu_tasks.harness.model_args import model_args
from mllmu_tasks.results.runs import load_runs
from mllmu_tasks.results.validity import all_flaws
from mllmu_unlearn.experiments import from_scratch
from mllmu_unlearn.experiments.runner import Stage
from mllmu_unlearn.recipes import find_recipe

RATIO = 15
METHODS = ("gradient_ascent", "grad_diff", "kl_min", "npo", "prompting")
MODELS = ("vanilla", "retain_only")
TASKS = f"mllmu_{RATIO}"
# What decides the demo's numbers; the user's own settings must not leak into it.
ENVIRONMENT = {
    "MLLMU_DATA": "mini",
    "MLLMU_SEED": "0",
    "MLLMU_SHOTS": "1,2",
    "MLLMU_SHOT_QUESTIONS": "",
    "HF_TOKEN": "",  # lmms-eval prints it into its log
    "TOKENIZERS_PARALLELISM": "false",
    "PYTHONUNBUFFERED": "1",
}


@dataclass(frozen=True)
class DemoFolder:
    """Where things are under the demo's folder."""

    home: Path

    def model(self, name: str) -> Path:
        return self.home / "models" / name

    def adapter(self, method: str) -> Path:
        return self.home / "adapters" / method

    def results(self, row: str) -> Path:
        return self.home / "results" / row

    @property
    def scratch(self) -> from_scratch.Scratch:
        return from_scratch.Scratch(self.home / "scratch")


def recipe(method: str) -> Path:
    """The YAML with the hyper-parameters of a method on the mini benchmark."""
    return find_recipe(f"mini/{method}")


def plan(folder: DemoFolder, *, workers: int, cores: int, models: str = "") -> list[Stage]:
    """All stages of the demo, for `workers` at a time on `cores`.

    models: identifies the checkpoints that stand in the folder already; without it they are trained, too.
    """
    environment = {**ENVIRONMENT, "OMP_NUM_THREADS": str(max(1, cores // workers))}
    trained: dict[str, tuple[str, ...]] = dict.fromkeys(MODELS, ())
    stages = []
    if not models:
        stages = from_scratch.stages(folder.scratch, folder.home / "models", cores, environment)
        trained = {name: (f"train-{name}",) for name in MODELS}
    evaluations = {name: _evaluate(folder, name, None, trained[name], models, environment) for name in MODELS}
    stages.append(evaluations["vanilla"])
    for method in METHODS:
        stages.append(
            Stage(
                name=f"unlearn-{method}",
                command=(sys.executable, "-m", "mllmu_unlearn.cli.main", *_unlearn_arguments(folder, method)),
                output=folder.adapter(method),
                needs=trained["vanilla"],
                identity=f"{__version__} {models} {file_hash(recipe(method))}",
                environment=environment,
            )
        )
        needs = (f"unlearn-{method}",)
        stages.append(_evaluate(folder, method, folder.adapter(method), needs, models, environment))
    stages.append(evaluations["retain_only"])
    return stages


def evaluation_command(folder: DemoFolder, row: str) -> str:
    """The lmms-eval command of a row, to copy."""
    adapter = folder.adapter(row) if row in METHODS else None
    return "MLLMU_DATA=mini lmms-eval " + shlex.join(_evaluation_arguments(folder, row, adapter))


def unlearning_command(folder: DemoFolder, method: str) -> str:
    """The training command of a method, to copy."""
    return "MLLMU_DATA=mini mllmu " + shlex.join(_unlearn_arguments(folder, method))


def _unlearn_arguments(folder: DemoFolder, method: str) -> list[str]:
    return [
        *("unlearn", "--config", str(recipe(method))),
        *("--model_name_or_path", str(folder.model("vanilla"))),
        *("--output_dir", str(folder.adapter(method))),
    ]


def _evaluation_arguments(folder: DemoFolder, row: str, adapter: Path | None) -> list[str]:
    model = folder.model("retain_only" if row == "retain_only" else "vanilla")
    given = model_args("dtype=float32", pretrained=str(model), peft=str(adapter or ""))
    return [
        *("--model", "mllmu_hf", "--model_args", given),
        *("--tasks", TASKS, "--batch_size", "32", "--log_samples"),
        *("--output_path", str(folder.results(row))),
    ]


def _evaluate(
    folder: DemoFolder, row: str, adapter: Path | None, needs: tuple[str, ...], models: str, environment: dict
) -> Stage:
    return Stage(
        name=f"evaluate-{row}",
        command=(sys.executable, "-m", "lmms_eval", *_evaluation_arguments(folder, row, adapter)),
        output=folder.results(row),
        needs=needs,
        identity=f"{__version__} {models}",
        environment=environment,
        check=lambda: complete(folder.results(row)),
    )


def complete(folder: Path) -> None:
    """Raises UserError unless the folder holds one run with every leaf of the demo's benchmark scored."""
    run = load_runs([folder])[-1]
    missing = {leaf.name for leaf in leaves(RATIO)} - {leaf.name for leaf in _scored(run.samples)}
    if missing:
        raise UserError(f"no question of {', '.join(sorted(missing))} was scored.")
    if flaws := all_flaws([run]):
        raise UserError(f"what was evaluated is no result: {flaws[0]}.")


def _scored(samples: tuple) -> set[Leaf]:
    return {sample.leaf for sample in samples}
