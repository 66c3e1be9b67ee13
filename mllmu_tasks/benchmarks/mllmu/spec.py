"""The vocabulary of MLLMU-Bench: splits, tasks, modalities, ratios, and leaf name <-> coordinates.

Source: arXiv 2410.22108. The names of groups and leaves are public and stable.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum

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


class Modality(StrEnum):
    IMAGE = "image"
    TEXT = "text"


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


def group_name(split: Split | None, ratio: int | None) -> str:
    """`mllmu`, `mllmu_10`, `mllmu_forget`, `mllmu_forget_10`, `mllmu_real`. A ratio of 5 % is not spelt."""
    parts = ["mllmu"]
    if split is not None:
        parts.append(split)
    if ratio is not None and ratio != DEFAULT_RATIO and split is not Split.REAL:
        parts.append(str(ratio))
    return "_".join(parts)


@dataclass(frozen=True)
class Leaf:
    """One leaf task of lmms-eval: a split, its ratio (None on real), a task and a modality."""

    split: Split
    ratio: int | None
    task: Task
    modality: Modality

    @property
    def group(self) -> str:
        return group_name(self.split, self.ratio)

    @property
    def name(self) -> str:
        return f"{self.group}_{self.task}_{self.modality}"

    @property
    def config(self) -> str:
        """The config whose rows are asked about."""
        if self.split is Split.REAL:
            return REAL_CONFIG
        if self.split is Split.TEST:
            return TEST_CONFIG
        return forget_config(self.ratio) if self.split is Split.FORGET else retain_config(self.ratio)

    @property
    def wanted_low(self) -> bool:
        """True where unlearning wants a low score (forget and test)."""
        return self.split in (Split.FORGET, Split.TEST)

    @classmethod
    def parse(cls, name: str) -> "Leaf":
        """The leaf of a task name. Raises ValueError for anything that is no leaf."""
        match = _LEAF_NAME.fullmatch(name)
        if not match:
            raise ValueError(f"'{name}' is no MLLMU leaf task")
        split = Split(match["split"])
        ratio = None if split is Split.REAL else int(match["ratio"] or DEFAULT_RATIO)
        leaf = cls(split, ratio, Task(match["task"]), Modality(match["modality"]))
        if leaf.name != name:
            raise ValueError(f"'{name}' is no MLLMU leaf task")
        return leaf


_LEAF_NAME = re.compile(
    rf"mllmu_(?P<split>{'|'.join(Split)})(?:_(?P<ratio>{'|'.join(map(str, RATIOS))}))?"
    rf"_(?P<task>{'|'.join(Task)})_(?P<modality>{'|'.join(Modality)})"
)


def leaves(ratio: int | None = None) -> Iterator[Leaf]:
    """Leaves of one ratio (with the real split), or of all ratios, in a stable order."""
    for split in Split:
        ratios = (None,) if split is Split.REAL else RATIOS if ratio is None else (ratio,)
        for split_ratio in ratios:
            for task in Task:
                for modality in Modality:
                    yield Leaf(split, split_ratio, task, modality)
