"""The entry point: makes our task folder visible to lmms-eval and registers our models.

lmms-eval knows plugins for models only (group `lmms_eval.models`), so `register` also adds our YAML folder to
what `TaskManager` reads. It is called in every lmms-eval run on the machine: it imports nothing heavy, changes
nothing else, and never raises, because one failing plugin would disable all that come after it.
"""

import functools
import warnings
from pathlib import Path

from mllmu_tasks.shipped import shipped

MARK = "_mllmu_adds_tasks"
MODELS = {
    "mllmu_hf": "mllmu_tasks.harness.hf.MllmuHf",
    "mllmu_peft": "mllmu_tasks.harness.peft_backend.MllmuPeft",
    "mllmu_replay": "mllmu_tasks.harness.replay.MllmuReplay",
}
"""What lmms-eval's --model calls them."""


def task_folder() -> Path:
    """The folder of the task YAMLs."""
    return shipped("task_yamls")


def register() -> list:
    """Called by lmms-eval when `lmms_eval.models` is imported. Returns our model manifests."""
    try:
        _show_tasks()
        from lmms_eval.models.registry_v2 import ModelManifest

        return [ModelManifest(name, chat_class_path=path) for name, path in MODELS.items()]
    except Exception as error:  # the whole plugin chain of lmms-eval hangs on this call
        warnings.warn(
            f"mllmu could not register with this lmms-eval ({error!r}); use --include_path {task_folder()}",
            stacklevel=2,
        )
        return []


def _show_tasks() -> None:
    """Make TaskManager read our folder after its own; idempotent."""
    from lmms_eval.tasks import TaskManager

    original = TaskManager.initialize_tasks
    if getattr(original, MARK, False):
        return

    @functools.wraps(original)
    def initialize_tasks(self, include_path=None, include_defaults=True, **kwargs):
        paths = [include_path] if isinstance(include_path, str) else list(include_path or [])
        if include_defaults:
            paths += [folder for folder in _folders() if folder not in paths]
        return original(self, include_path=paths or None, include_defaults=include_defaults, **kwargs)

    setattr(initialize_tasks, MARK, True)
    TaskManager.initialize_tasks = initialize_tasks


def _folders() -> list[str]:
    """The task folders of all benchmarks, those of other packages included."""
    from mllmu_tasks.benchmarks import registry
    from mllmu_tasks.errors import UserError, stop

    try:
        return [str(folder) for folder in registry.task_folders()]
    except UserError as error:
        stop(error)
