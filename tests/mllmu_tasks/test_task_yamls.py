import importlib
import re

import pytest

from mllmu_tasks.benchmarks.mllmu.spec import METRICS, leaves
from mllmu_tasks.benchmarks.registry import benchmark
from mllmu_tasks.harness.task_files import task_files
from mllmu_tasks.plugin import task_folder

TEXTS = task_files(benchmark("mllmu"))


def test_the_committed_files_are_what_the_vocabulary_gives():
    found = {f.name: f.read_text(encoding="utf-8") for f in task_folder().iterdir() if f.is_file()}
    assert found == TEXTS


def test_there_is_a_file_for_every_leaf_and_13_groups():
    assert sum(name.endswith(".yaml") for name in TEXTS) == 60 + 13
    assert {f"{leaf.name}.yaml" for leaf in leaves()} <= set(TEXTS)


def test_every_named_function_exists():
    names = set(re.findall(r"!function (\S+)", "".join(TEXTS.values())))
    assert len(names) == 8
    for name in names:
        module, _, function = name.rpartition(".")
        assert callable(getattr(importlib.import_module(module), function))


def test_no_metric_name_is_part_of_another():
    metrics = [*(m for names in METRICS.values() for m in names)]
    metrics += ["mllmu_answered", "mllmu_by_person", "mllmu_facts", "mllmu_factuality"]
    assert not [(a, b) for a in metrics for b in metrics if a != b and a in b]


@pytest.mark.parametrize("leaf", list(leaves(5)), ids=lambda leaf: leaf.name)
def test_lower_is_better_where_forgetting_is_wanted(leaf):
    text = TEXTS[f"{leaf.name}.yaml"]
    better = re.findall(rf"metric: {METRICS[leaf.task][0]}, aggregation: mean, higher_is_better: (\w+)", text)
    assert better == ["false" if leaf.split in ("forget", "test") else "true"]
