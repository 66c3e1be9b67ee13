"""Every function of lmms-eval that this package replaces, and where it steps into Transformers.

| what | why | since | which test notices |
|---|---|---|---|
| `TaskManager.initialize_tasks` (`show_tasks`) | lmms-eval has plugins for models alone; ours bring tasks | lmms-eval 0.7 | tests/mllmu_tasks/test_plugin.py |
| `ResponseCache.create` (`key_by_content`) | the cache's key knows neither weights, adapters nor draws | lmms-eval 0.7 | tests/mllmu_tasks/harness/test_response_cache.py |
| `yaml.full_load` (`safe_task_files`) | two thousand task files, by libyaml and without Python tags | lmms-eval 0.7 | tests/mllmu_tasks/harness/test_patches.py |
| `TaskManager`, `get_task_dict` (`shared_tasks`) | several runs in one process read tasks and data once | lmms-eval 0.7 | tests/mllmu_unlearn/experiments/test_evaluate.py |

Of one object and not of a library, and therefore beside what they serve: `get_image_features` of a loaded model (one
pass an image: models/features.py, training/image_features.py), and the look-up and storing of one response cache
(seals: harness/response_cache.py). Methods of Transformers' Trainer are overridden by a subclass, training/trainer.py.

`plugin.py` imports this in every lmms-eval run on the machine, so whatever is heavy is imported inside functions.
"""  # noqa: E501 (rows of a table)

import functools
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any
from unittest.mock import patch

import yaml

MARK = "_mllmu_replaces"
FUNCTION = "!function"


def replace_once(owner: type, name: str, make: Callable[[Callable], Callable]) -> None:
    """Put `make(original)` in the place of a function of a class; nothing if that is done already."""
    original = getattr(owner, name)
    if getattr(original, MARK, False):
        return
    replacement = functools.wraps(original)(make(original))
    setattr(replacement, MARK, True)
    setattr(owner, name, replacement)


def show_tasks() -> None:
    """Make TaskManager read the task folders of all benchmarks after its own."""
    from lmms_eval.tasks import TaskManager

    def make(original: Callable) -> Callable:
        def initialize_tasks(self, include_path=None, include_defaults=True, **kwargs):
            paths = [include_path] if isinstance(include_path, str) else list(include_path or [])
            if include_defaults:
                paths += [folder for folder in _task_folders() if folder not in paths]
            return original(self, include_path=paths or None, include_defaults=include_defaults, **kwargs)

        return initialize_tasks

    replace_once(TaskManager, "initialize_tasks", make)


def _task_folders() -> list[str]:
    """Those of other packages included."""
    from mllmu_tasks.benchmarks import registry
    from mllmu_tasks.errors import UserError, stop

    try:
        return [str(folder) for folder in registry.task_folders()]
    except UserError as error:
        stop(error)


def key_by_content(make: Callable[[Callable], Callable]) -> None:
    """Put `make(original)` in the place of what opens the response cache."""
    from lmms_eval.caching.response_cache import ResponseCache

    replace_once(ResponseCache, "create", make)


@contextmanager
def safe_task_files() -> Iterator[None]:
    """Inside, lmms-eval reads task files by the safe loader."""
    with patch.object(yaml, "full_load", load_task_file):
        yield


@contextmanager
def shared_tasks() -> Iterator[None]:
    """Inside, runs that follow each other in one process share the tasks and their questions."""
    import lmms_eval.__main__
    import lmms_eval.evaluator

    with (
        safe_task_files(),
        patch.object(lmms_eval.__main__, "TaskManager", _once(lmms_eval.__main__.TaskManager)),
        patch.object(lmms_eval.evaluator, "get_task_dict", _once(lmms_eval.evaluator.get_task_dict)),
    ):
        yield


class _Loader(yaml.CSafeLoader if yaml.__with_libyaml__ else yaml.SafeLoader):
    """Plain YAML and lmms-eval's `!function`, which asks for the file's name; by libyaml several times as fast."""

    def __init__(self, stream: Any) -> None:
        super().__init__(stream)
        self.name = getattr(stream, "name", "<text>")


def load_task_file(stream: Any) -> Any:
    """In place of `yaml.full_load`. lmms-eval goes on changing what `!function` means, so it is looked up each time."""
    if FUNCTION in yaml.FullLoader.yaml_constructors:
        _Loader.add_constructor(FUNCTION, yaml.FullLoader.yaml_constructors[FUNCTION])
    return yaml.load(stream, _Loader)


def _once(make: Callable) -> Callable:
    """Made once for equal arguments."""
    made: dict[str, Any] = {}

    @functools.wraps(make, updated=())
    def remembered(*args: Any, **kwargs: Any) -> Any:
        key = repr((args, sorted(kwargs.items())))
        if key not in made:
            made[key] = make(*args, **kwargs)
        return made[key]

    return remembered
