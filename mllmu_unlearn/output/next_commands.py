"""How a result is evaluated: command lines to copy, for its card and for the last words of its run."""

import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from mllmu_tasks.artifacts.record import named_people
from mllmu_tasks.benchmarks.mllmu.settings import DEFAULT_DATA
from mllmu_tasks.benchmarks.mllmu.spec import group_name
from mllmu_tasks.data.source import HUB_ID
from mllmu_tasks.harness.model_args import model_args
from mllmu_tasks.names import last_part

MINI = "mini"


def commands(record: Mapping[str, Any], folder: str) -> list[str]:
    """What to run to ask about the people whom a result forgot.

    record: the content of unlearning.yaml. folder: where the result lies, or its hub id. For named people, whom no
    task knows, the first command makes their data; no examples are shown then, since these would be some of them.
    """
    given, name = opened_by(record, folder), last_part(folder)
    if not named_people(record):
        source = record["data"]["source"]
        return [_lmms_eval(_settings(source), given, group_name(None, record["forget"].get("ratio")), name)]
    data = f"requests/{name}"
    return [shlex.join(["mllmu", "data", "request", "--adapter", folder, "--out", data]), evaluation(data, given, name)]


def evaluation(data: str, given: str, name: str) -> str:
    """lmms-eval on a request's data, zero-shot. given: --model_args. name: of the results' folder."""
    return _lmms_eval([f"MLLMU_DATA={shlex.quote(data)}", "MLLMU_SHOTS=0"], given, group_name(None, None), name)


def _lmms_eval(settings: Sequence[str], given: str, tasks: str, name: str) -> str:
    model = ["lmms-eval", "--model", "mllmu_hf", "--model_args", given, "--tasks", tasks]
    saved = ["--batch_size", "auto", "--log_samples", "--output_path", f"results/{name}"]
    return " ".join([*settings, shlex.join([*model, *saved])])


def _settings(source: str) -> list[str]:
    """MLLMU_DATA, unless the data are the default ones or lie elsewhere (on a published card, paths are hidden)."""
    here = source == MINI or Path(source).is_dir() or HUB_ID.fullmatch(source)
    return [f"MLLMU_DATA={shlex.quote(source)}"] if here and source != DEFAULT_DATA else []


def opened_by(record: Mapping[str, Any], folder: str) -> str:
    """The --model_args with which `mllmu_hf` opens a result. Raises UserError for paths that lmms-eval would cut."""
    if record["kind"] == "full":
        return model_args(pretrained=folder)
    base = record["base_model"]
    return model_args(pretrained=base["name_or_path"], revision=base["revision"], peft=folder)
