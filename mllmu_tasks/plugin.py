"""The entry point: makes our task folder visible to lmms-eval and registers our models.

lmms-eval knows plugins for models only (group `lmms_eval.models`), so `register` also adds our YAML folder to
what `TaskManager` reads. It is called in every lmms-eval run on the machine: it imports nothing heavy, changes
nothing else, and never raises, because one failing plugin would disable all that come after it.
"""

import warnings
from pathlib import Path

from mllmu_tasks.shipped import shipped

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
        from lmms_eval.models.registry_v2 import ModelManifest

        from mllmu_tasks.harness.patches import show_tasks

        show_tasks()
        return [ModelManifest(name, chat_class_path=path) for name, path in MODELS.items()]
    except Exception as error:  # the whole plugin chain of lmms-eval hangs on this call
        warnings.warn(
            f"mllmu could not register with this lmms-eval ({error!r}); use --include_path {task_folder()}",
            stacklevel=2,
        )
        return []
