"""Tasks, model and arguments of a sweep's evaluation, checked before anything trains."""

from collections import Counter
from fnmatch import fnmatchcase
from pathlib import Path

from mllmu_tasks.benchmarks.mllmu.spec import DEFAULT_RATIO, RATIOS, Split, group_name, leaves
from mllmu_tasks.errors import UserError, did_you_mean, quoted
from mllmu_tasks.harness.arguments import ARGUMENTS, check_arguments
from mllmu_tasks.harness.model_args import as_mapping, model_args
from mllmu_tasks.harness.patches import safe_task_files
from mllmu_tasks.plugin import MODELS, task_folder
from mllmu_unlearn.experiments.sweep.grid import Evaluation

OURS = "mllmu_"
HF = "mllmu_hf"


def leaves_of(task: str) -> list[str]:
    """Our leaves that a name of ours stands for; none for other names."""
    if task in {leaf.name for leaf in leaves()}:
        return [task]
    for split in (None, *Split):
        for ratio in RATIOS:
            if task == group_name(split, ratio):
                return [leaf.name for leaf in leaves(ratio or DEFAULT_RATIO) if split in (None, leaf.split)]
    return []


def check(evaluation: Evaluation) -> None:
    """Raise UserError for what lmms-eval does not know. It is imported only for names that are not ours."""
    model_args(evaluation.model_args, pretrained="given", peft="given")
    if evaluation.model == HF:
        given = as_mapping(evaluation.model_args)
        unknown = {name: value for name, value in given.items() if name not in ARGUMENTS}
        style = given.get("prompt_style", "chat")
        check_arguments("given", given.get("dtype", "auto"), style, evaluation.batch_size, unknown)
    elif evaluation.model not in MODELS:
        _check_model(evaluation.model)
    tasks = [task.strip() for task in evaluation.tasks.split(",")]
    asked = Counter(leaf for task in tasks for leaf in leaves_of(task))
    twice = [leaf for leaf, times in asked.items() if times > 1]
    if twice:
        raise UserError(f"the tasks ask {twice[0]} twice, which lmms-eval refuses; name each group once.")
    others = [task for task in tasks if not leaves_of(task) and not Path(task).is_file()]
    known = {leaf.name for leaf in leaves()} | {group_name(split, r) for split in (None, *Split) for r in RATIOS}
    for task in [task for task in others if task.startswith(OURS)]:
        if not any(fnmatchcase(name, task) for name in known):
            raise UserError(f"there is no task {quoted(task)}.{did_you_mean(task, known)}")
    others = [task for task in others if not task.startswith(OURS)]
    if others:
        _check_tasks(others)


def _check_model(name: str) -> None:
    from lmms_eval.models import MODEL_REGISTRY_V2

    known = MODEL_REGISTRY_V2.list_model_names()
    if name not in known:
        raise UserError(f"lmms-eval knows no model {quoted(name)}.{_near(name, known)}")


def _check_tasks(names: list[str]) -> None:
    from lmms_eval.tasks import TaskManager

    with safe_task_files():
        manager = TaskManager("ERROR", include_path=str(task_folder()))
    for name in names:
        if not manager.match_tasks([name]):
            raise UserError(f"lmms-eval knows no task {quoted(name)}.{_near(name, manager.all_tasks)}")


def _near(name: str, known: list[str]) -> str:
    """The nearest name alone: there are too many to list."""
    said = did_you_mean(name, known)
    return said if "Did you mean" in said else " `lmms-eval tasks list` and `lmms-eval --help` show what it knows."
