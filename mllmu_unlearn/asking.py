"""How a result is evaluated: command lines to copy, for its card and for the last words of its run."""

import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mllmu_tasks.benchmark import group_name
from mllmu_tasks.request import named_people


def commands(record: Mapping[str, Any], folder: str) -> list[str]:
    """What to run to ask about the people whom a result forgot.

    record: the content of unlearning.yaml. folder: where the result lies, or its hub id. For named people, whom no
    task knows, the first command makes their data; no examples are shown then, since these would be some of them.
    """
    given, name = model_args(record, folder), Path(folder).name
    if not named_people(record):
        tasks = group_name(None, record["forget"].get("ratio"))
        return [shlex.join(["lmms-eval", "--model", "mllmu_hf", "--model_args", given, "--tasks", tasks])]
    data = f"requests/{name}"
    return [shlex.join(["mllmu", "data", "request", "--adapter", folder, "--out", data]), evaluation(data, given, name)]


def evaluation(data: str, given: str, name: str) -> str:
    """lmms-eval on a request's data, zero-shot. given: --model_args. name: of the results' folder."""
    model = ["lmms-eval", "--model", "mllmu_hf", "--model_args", given, "--tasks", group_name(None, None)]
    saved = ["--batch_size", "auto", "--log_samples", "--output_path", f"results/{name}"]
    return f"MLLMU_DATA={shlex.quote(data)} MLLMU_SHOTS=0 {shlex.join([*model, *saved])}"


def model_args(record: Mapping[str, Any], folder: str) -> str:
    """How `mllmu_hf` opens a result."""
    if record["kind"] == "full":
        return f"pretrained={folder}"
    base, revision = record["base_model"]["name_or_path"], record["base_model"]["revision"]
    return ",".join([f"pretrained={base}", *([f"revision={revision}"] if revision else []), f"peft={folder}"])
