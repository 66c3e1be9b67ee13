"""What our tasks record in results files, made up: who answered, by which configuration, and honest scores."""

import json

from mllmu_tasks.artifacts.task_file import config_hash
from mllmu_tasks.benchmarks.mllmu.spec import VOCABULARY, Leaf, Task
from mllmu_tasks.scorers.base import SCORING, get, score_answer

BASE, ADAPTER, OTHER = "b" * 32, "a" * 64, "c" * 32
GENERATION = {"until": ["ASSISTANT:"], "max_new_tokens": 50, "do_sample": False, "temperature": 0.0}
OPTIONS = {"A": "right", "B": "wrong", "C": "other", "D": "more"}


def configuration(leaf: str, **changed) -> dict:
    """Of a leaf, as in `configs` of a results file."""
    kwargs = {"data_files": {leaf: "/somewhere/leaf.json"}}
    return {"task": leaf, "dataset_kwargs": kwargs, "generation_kwargs": GENERATION, **changed}


def answerer(role: str, forgot: list[str] | None, model: str = "mllmu_hf") -> dict:
    """role: base, adapter (on that base) or reference."""
    return {
        "model": model,
        "pretrained": "m",
        "weights": OTHER if role == "reference" else BASE,
        "architecture": "Llava, 4 layers of 64",
        "dtype": "torch.float32",
        "adapter": ADAPTER if role == "adapter" else "",
        "made_from": BASE if role == "adapter" else "",
        "forgot": forgot if role == "adapter" else [],
        "forms": "f1",
        "system": "",
        "system_of": "",
        "kept": {},
    }


def facts(leaf: str, whom: list[str], role: str, model: str = "mllmu_hf") -> dict:
    return {
        "whole_data": "w1",
        "scoring": SCORING,
        "configuration": config_hash(configuration(leaf)),
        "generation": GENERATION,
        "whom": whom if Leaf.parse(leaf).wanted_low else None,
        "answered_by": answerer(role, whom, model),
    }


def scored(leaf: str, right: bool, answered: bool = True) -> dict:
    """The part of a sample that follows from the answer."""
    task = Leaf.parse(leaf).task
    gold, wrong = ("A", "B") if task is Task.CLASSIFICATION else ("the answer", "x")
    options = OPTIONS if task is Task.CLASSIFICATION else {}
    said = (gold if right else wrong) if answered else ""
    return {
        "filtered_resps": said,
        "options": json.dumps(options) if options else "",
        "gold": gold,
        **score_answer(get(VOCABULARY.task(task).scorer), said, gold, options),
    }
