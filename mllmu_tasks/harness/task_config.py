"""How a leaf is asked, as lmms-eval records it: compared with the task files of this package."""

import functools
import json
import re
from collections.abc import Mapping
from pathlib import PurePath
from typing import Any

from mllmu_tasks.artifacts.identity import short_hash
from mllmu_tasks.plugin import task_folder

_ADDRESS = re.compile(r" at 0x[0-9a-fA-F]+")
GENERATION = "generation_kwargs"


def config_hash(config: Mapping[str, Any]) -> str:
    """16 hex digits of a leaf's configuration without its generation settings, which are compared by themselves.

    config: as in `configs` of a results file. Left aside is what differs by machine: addresses and folders.
    """
    kept = {key: value for key, value in config.items() if key != GENERATION}
    data = kept.get("dataset_kwargs")
    if isinstance(data, Mapping) and isinstance(files := data.get("data_files"), Mapping):
        kept["dataset_kwargs"] = {
            **data,
            "data_files": {key: PurePath(str(file)).name for key, file in files.items()},
        }
    return short_hash(_ADDRESS.sub("", json.dumps(kept, sort_keys=True, default=str)))


@functools.cache
def shipped(leaf: str) -> tuple[str, dict[str, Any]]:
    """(hash of the configuration, generation settings) of a leaf as its task file says; needs lmms-eval."""
    from lmms_eval.api.task import TaskConfig
    from lmms_eval.utils import load_yaml_config

    config = TaskConfig(**load_yaml_config(str(task_folder() / f"{leaf}.yaml"))).to_dict()
    return config_hash(config), dict(config[GENERATION])
