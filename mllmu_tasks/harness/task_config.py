"""How a leaf is asked: what the task files of this package say, in the form in which lmms-eval records it."""

import functools
from typing import Any

from mllmu_tasks.artifacts.task_file import GENERATION, config_hash
from mllmu_tasks.benchmarks import registry
from mllmu_tasks.benchmarks.vocabulary import Leaf


@functools.cache
def shipped(leaf: Leaf) -> tuple[str, dict[str, Any]]:
    """(hash of the configuration, generation settings) of a leaf as its task file says; needs lmms-eval."""
    from lmms_eval.api.task import TaskConfig
    from lmms_eval.utils import load_yaml_config

    config = TaskConfig(**load_yaml_config(str(registry.task_folder(leaf.benchmark) / f"{leaf.name}.yaml"))).to_dict()
    return config_hash(config), dict(config[GENERATION])
