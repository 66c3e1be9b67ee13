"""What the samples of a leaf task say of themselves: its benchmark, split, role and task, and what its metrics mean."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from mllmu_tasks.scorers.metrics import Metric, read_metrics
from mllmu_tasks.strict_json import expect

FORGET, RETAIN, OTHER = ROLES = ("forget", "retain", "other")
"""Of a split: a low score is wanted, the score should stay, or neither."""
USUAL_RATIO = 5
"""The forget ratio that a heading does not spell, and that is meant where nobody names one."""
ARROWS = {True: "↓", False: "↑", None: ""}


@dataclass(frozen=True)
class Leaf:
    """A leaf task of lmms-eval by the columns that all of its samples share.

    ratio: percent of the people to forget; None where the split has none. metrics: its own, the first one is the
    `score` of a sample. joined: those that were added beside its samples. order: its place in its benchmark.
    modalities: all in which the questions of its split and task are asked, its own among them.
    """

    name: str
    benchmark: str
    split: str
    role: str
    ratio: int | None
    task: str
    modality: str
    metrics: tuple[Metric, ...] = field(compare=False)
    joined: tuple[Metric, ...] = field(default=(), compare=False)
    order: int = field(default=0, compare=False)
    modalities: tuple[str, ...] = field(default=(), compare=False)

    @property
    def group(self) -> str:
        """The benchmark's name of its split, such as `mllmu_forget_10`."""
        return f"{self.benchmark}_{self.heading}"

    @property
    def heading(self) -> str:
        """Its split with the ratio, unless that is the usual one."""
        return self.split if self.ratio in (None, USUAL_RATIO) else f"{self.split}_{self.ratio}"

    @property
    def score(self) -> Metric:
        return self.metrics[0]

    @property
    def wants_low(self) -> bool | None:
        return self.score.wants_low(self.role)

    def metric(self, name: str) -> Metric | None:
        """One of its metrics; None if it has no such one."""
        return next((metric for metric in (*self.metrics, *self.joined) if metric.name == name), None)

    def with_joined(self, metrics: Iterable[Metric]) -> "Leaf":
        return replace(self, joined=(*self.joined, *metrics))

    @property
    def sorting(self) -> tuple:
        """The order of columns: that of the benchmark, then by name."""
        return self.benchmark, self.order, self.name


def describes_itself(facts: Mapping[str, Any]) -> bool:
    """Whether the facts of a task hold its columns; those of earlier versions do not."""
    return "split" in facts and "metrics" in facts


def leaf_of(name: str, facts: dict[str, Any], known: Leaf | None = None) -> Leaf:
    """The leaf of a task that describes itself. known: gives order and modalities where the facts do not.

    Raises ValueError for values of another type.
    """
    role = expect(facts, "role", str)
    if role not in ROLES:
        raise ValueError(f"'role' is {role!r:.40}, where one of {', '.join(ROLES)} is needed")
    metrics = read_metrics(expect(facts, "metrics", dict))
    if not metrics:
        raise ValueError("'metrics' is empty")
    texts = {key: expect(facts, key, str) for key in ("benchmark", "split", "task", "modality")}
    ratio = expect(facts, "ratio", int, default=None)
    order = expect(facts, "order", int, default=known.order if known else 0)
    modalities = expect(facts, "modalities", list, default=known.modalities if known else [texts["modality"]])
    return Leaf(
        name=name, role=role, ratio=ratio, metrics=metrics, order=order, modalities=tuple(map(str, modalities)), **texts
    )


def benchmarks_of(leaves: Iterable[Leaf]) -> list[str]:
    return sorted({leaf.benchmark for leaf in leaves})
