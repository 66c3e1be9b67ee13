"""A task file of others is told from ours, a machine of others is not."""

import pytest

from mllmu_tasks.benchmarks.mllmu.spec import leaves
from mllmu_tasks.harness.task_config import config_hash, shipped

CONFIG = {
    "task": "t",
    "dataset_kwargs": {"data_files": {"t": "/here/leaf.json"}},
    "doc_to_text": "<function to_text at 0x7f85e3ba31a0>",
    "metric_list": [{"metric": "m", "aggregation": "<function facts at 0x1>"}],
    "generation_kwargs": {"max_new_tokens": 50},
}


@pytest.mark.parametrize(
    "elsewhere",
    [
        {"dataset_kwargs": {"data_files": {"t": "/there/leaf.json"}}},
        {"doc_to_text": "<function to_text at 0x00aa>"},
        {"generation_kwargs": {"max_new_tokens": 1}},  # compared by itself
    ],
)
def test_what_differs_by_machine_is_left_aside(elsewhere):
    assert config_hash(CONFIG | elsewhere) == config_hash(CONFIG)


@pytest.mark.parametrize(
    "other",
    [
        {"task": "u"},
        {"dataset_kwargs": {"data_files": {"t": "/here/other.json"}}},
        {"doc_to_text": "<function other at 0x7f85e3ba31a0>"},
        {"metric_list": []},
        {"reasoning_tags": [["a", "z"]]},
        {"dataset_kwargs": "x"},
    ],
)
def test_another_task_is_another(other):
    assert config_hash(CONFIG | other) != config_hash(CONFIG)


def test_every_leaf_has_its_own_configuration_and_the_same_settings():
    found = [shipped(leaf) for leaf in leaves(15)]
    assert len({configuration for configuration, _ in found}) == len(found)
    assert all(generation["max_new_tokens"] == 50 for _, generation in found)
