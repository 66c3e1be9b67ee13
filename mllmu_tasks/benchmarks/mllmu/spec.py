"""The vocabulary of MLLMU-Bench: splits, tasks, modalities, ratios, and leaf name <-> coordinates.

Source: arXiv 2410.22108. The names of groups and leaves are public and stable.
"""

from enum import StrEnum

from mllmu_tasks.benchmarks import vocabulary
from mllmu_tasks.benchmarks.vocabulary import Role, SplitSpec, TaskSpec, Vocabulary
from mllmu_tasks.data.people import Modality

__all__ = ["Modality"]

RATIOS = (5, 10, 15)
DEFAULT_RATIO = 5


class Split(StrEnum):
    FORGET = "forget"
    TEST = "test"
    RETAIN = "retain"
    REAL = "real"


class Task(StrEnum):
    CLASSIFICATION = "classification"
    GENERATION = "generation"
    CLOZE = "cloze"


FULL_CONFIG = "Full_Set"
TEST_CONFIG = "Test_Set"
REAL_CONFIG = "Retain_Set"  # real celebrities, despite the name
TRAIN_CONFIG = "ft_Data"


def forget_config(ratio: int) -> str:
    return f"forget_{ratio}"


def retain_config(ratio: int) -> str:
    return f"retain_{100 - ratio}"


CONFIGS = (
    FULL_CONFIG,
    TEST_CONFIG,
    REAL_CONFIG,
    *(forget_config(r) for r in RATIOS),
    *(retain_config(r) for r in RATIOS),
    TRAIN_CONFIG,
)
"""All ten configs of the hub data set, each with one split named `train`."""

METRICS = {
    Task.CLASSIFICATION: ("mllmu_accuracy",),
    Task.CLOZE: ("mllmu_cloze",),
    Task.GENERATION: ("mllmu_rougeL", "mllmu_rouge1", "mllmu_rouge2", "mllmu_bleu"),
}
"""Metrics of a task, the one that is the task's `score` first."""


VOCABULARY = Vocabulary(
    name="mllmu",
    title="MLLMU-Bench",
    splits=(
        SplitSpec(Split.FORGET, Role.FORGET, RATIOS),
        SplitSpec(Split.TEST, Role.FORGET, RATIOS),
        SplitSpec(Split.RETAIN, Role.RETAIN, RATIOS),
        SplitSpec(Split.REAL, Role.RETAIN, examples=False),
    ),
    tasks=(
        TaskSpec(Task.CLASSIFICATION, scorer="choice", examples=True, first_letter=True),
        TaskSpec(Task.GENERATION, scorer="rouge"),
        TaskSpec(Task.CLOZE, scorer="cloze", examples=True),
    ),
    default_ratio=DEFAULT_RATIO,
)
group_name, leaves = VOCABULARY.group_name, VOCABULARY.leaves


class Leaf(vocabulary.Leaf):
    """A leaf of any benchmark; `parse` knows those of MLLMU-Bench."""

    @staticmethod
    def parse(name: str) -> vocabulary.Leaf:
        """The leaf of a task name. Raises ValueError for anything that is no leaf."""
        return VOCABULARY.parse(name)


def config_of(leaf: vocabulary.Leaf) -> str:
    """The config whose rows are asked about."""
    if leaf.split == Split.REAL:
        return REAL_CONFIG
    if leaf.split == Split.TEST:
        return TEST_CONFIG
    return forget_config(leaf.ratio) if leaf.split == Split.FORGET else retain_config(leaf.ratio)
