"""The words of a benchmark: its splits, tasks and modalities, and leaf name <-> coordinates."""

import functools
from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum

from mllmu_tasks.data.people import Modality


class Role(StrEnum):
    """What unlearning wants of a split: a low score (forget), the score of before (retain), nothing (other)."""

    FORGET = "forget"
    RETAIN = "retain"
    OTHER = "other"


@dataclass(frozen=True)
class SplitSpec:
    """People who are asked about. ratios: percentages of people to forget that divide it; () for an undivided one."""

    name: str
    role: Role
    ratios: tuple[int, ...] = ()
    examples: bool = True
    """Whether its questions may follow examples."""


@dataclass(frozen=True)
class TaskSpec:
    """A kind of question. scorer: the name of what turns its answers into numbers."""

    name: str
    scorer: str
    max_new_tokens: int = 50
    examples: bool = False
    """Whether people are shown before its questions."""
    first_letter: bool = False
    """Whether the first character of an answer is all that is read of it."""


@dataclass(frozen=True)
class Leaf:
    """One leaf task of lmms-eval. ratio: None on an undivided split. group: of all tasks of its split and ratio."""

    benchmark: str
    split: str
    role: Role
    ratio: int | None
    task: str
    modality: Modality
    name: str
    group: str

    @property
    def wanted_low(self) -> bool:
        return self.role is Role.FORGET

    def columns(self) -> dict[str, str | int | None]:
        """Its coordinates, as every sample and every results file has them."""
        texts = {key: str(getattr(self, key)) for key in ("benchmark", "split", "role", "task", "modality")}
        return {**texts, "ratio": self.ratio}


@dataclass(frozen=True, kw_only=True)
class Vocabulary:
    """The tasks of a benchmark and their names: `<name>_<split>[_<ratio>]_<task>_<modality>`.

    default_ratio: the one that names do not spell.
    """

    name: str
    title: str
    splits: tuple[SplitSpec, ...]
    tasks: tuple[TaskSpec, ...]
    modalities: tuple[Modality, ...] = tuple(Modality)
    default_ratio: int | None = None

    @property
    def ratios(self) -> tuple[int, ...]:
        return tuple(dict.fromkeys(ratio for split in self.splits for ratio in split.ratios))

    def group_name(self, split: str | None = None, ratio: int | None = None) -> str:
        """Of one split, or of all (None)."""
        divided = split is None or self.split(split).ratios
        spelt = ratio is not None and ratio != self.default_ratio and divided
        return "_".join([self.name, *([str(split)] if split else []), *([str(ratio)] if spelt else [])])

    def leaf(self, split: str, ratio: int | None, task: str, modality: Modality) -> Leaf:
        spec, group = self.split(split), self.group_name(split, ratio)
        ratio = ratio if spec.ratios else None
        name = f"{group}_{task}_{modality}"
        return Leaf(self.name, spec.name, spec.role, ratio, self.task(task).name, modality, name, group)

    def leaves(self, ratio: int | None = None) -> Iterator[Leaf]:
        """Leaves of one ratio (with the undivided splits), or of all ratios, in a stable order."""
        for split in self.splits:
            ratios = (None,) if not split.ratios else split.ratios if ratio is None else (ratio,)
            for part in ratios:
                for task in self.tasks:
                    for modality in self.modalities:
                        yield self.leaf(split.name, part, task.name, modality)

    def groups(self) -> dict[str, list[str]]:
        """Group -> the leaves or groups in it: one group a split and ratio, and one of all splits a ratio."""
        members: dict[str, list[str]] = {}
        for leaf in self.leaves():
            members.setdefault(leaf.group, []).append(leaf.name)
        for ratio in self.ratios or (None,):
            members[self.group_name(None, ratio)] = [self.group_name(split.name, ratio) for split in self.splits]
        return members

    def parse(self, name: str) -> Leaf:
        """The leaf of a task name. Raises ValueError for anything that is no leaf."""
        if name not in self._by_name:
            raise ValueError(f"'{name}' is no leaf task of {self.title}")
        return self._by_name[name]

    @functools.cached_property
    def _by_name(self) -> dict[str, Leaf]:
        return {leaf.name: leaf for leaf in self.leaves()}

    def split(self, name: str) -> SplitSpec:
        return next(split for split in self.splits if split.name == name)

    def task(self, name: str) -> TaskSpec:
        return next(task for task in self.tasks if task.name == name)

    def shows_examples(self, leaf: Leaf) -> bool:
        """Whether questions of the leaf may follow examples."""
        return self.task(leaf.task).examples and self.split(leaf.split).examples
