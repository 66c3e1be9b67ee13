"""What a policy may name: what the default policy lists of its benchmark, and whatever the results hold besides."""

import functools
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from importlib.resources import files
from typing import Any

from mllmu_tasks import strict_yaml
from mllmu_tasks.errors import UserError, did_you_mean, quoted
from mllmu_tasks.results.columns import USUAL_RATIO, Leaf
from mllmu_tasks.results.gate.rules import MEASURED, SCORE, Rule
from mllmu_tasks.results.stats.contrast import Kind
from mllmu_tasks.strict_json import expect

KEYS = ("benchmark", "splits", "tasks", "modalities")


@dataclass(frozen=True)
class Names:
    """splits: name -> forget ratios, () for an undivided one. tasks: name -> metrics; `each` and a rule that pools
    mean these, whatever else was evaluated.
    """

    benchmark: str
    splits: Mapping[str, tuple[int, ...]]
    tasks: Mapping[str, tuple[str, ...]]
    modalities: tuple[str, ...]

    @property
    def ratios(self) -> tuple[int, ...]:
        return tuple(dict.fromkeys(ratio for ratios in self.splits.values() for ratio in ratios))

    @property
    def metrics(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys(metric for metrics in self.tasks.values() for metric in metrics))


def default_text() -> str:
    """The default policy, to read or to start a file from."""
    return (files("mllmu_tasks") / "benchmarks" / "mllmu" / "default_policy.yaml").read_text(encoding="utf-8")


@functools.cache
def default_names() -> Names:
    return parse_names(strict_yaml.load(default_text(), "default policy")["names"], "default policy")


def parse_names(given: Any, source: str) -> Names:
    """The `names:` block of a policy. Raises UserError."""
    if not isinstance(given, dict) or set(given) != set(KEYS):
        raise UserError(f"{source}, names: write {', '.join(KEYS)}, as `mllmu check --show-policy` does.")
    try:
        splits = {key: tuple(expect(given["splits"], key, list)) for key in expect(given, "splits", dict)}
        tasks = {key: tuple(expect(given["tasks"], key, list)) for key in expect(given, "tasks", dict)}
        return Names(expect(given, "benchmark", str), splits, tasks, tuple(expect(given, "modalities", list)))
    except ValueError as error:
        raise UserError(f"{source}, names: {error}.") from error


def require_known(rules: Iterable[Rule], names: Names, leaves: Sequence[Leaf]) -> None:
    """Raise UserError for a rule that names what neither the policy's benchmark nor the results have."""
    for rule in rules:
        if rule.benchmark:
            continue
        of_split = [leaf for leaf in leaves if leaf.split == rule.split]
        _require(rule, "split", rule.split, [*names.splits, *(leaf.split for leaf in leaves)])
        _require(rule, "task", rule.task, [*names.tasks, *(leaf.task for leaf in leaves)])
        _require(rule, "modality", rule.modality, [*names.modalities, *(leaf.modality for leaf in leaves)])
        of_task = [leaf for leaf in of_split if rule.task in (None, leaf.task)]
        metrics = [metric for leaf in of_task or leaves for metric in (*leaf.metrics, *leaf.joined)]
        own = names.tasks.get(rule.task, ()) if rule.task else names.metrics
        if rule.task and rule.metric in names.metrics and rule.metric not in own:
            raise UserError(f"{rule.source}: {rule.task} has no {rule.metric}.{did_you_mean(rule.metric, own)}")
        known = [SCORE, *MEASURED, *own, *(metric.name for metric in metrics)]
        _require(rule, "metric", rule.metric, known)
        for metric in metrics:
            outside = rule.bound.kind is Kind.SCORE and not metric.holds(rule.bound.amount)
            if metric.name == rule.metric and outside:
                raise UserError(
                    f"{rule.source}: {metric.name} lies between {metric.low:g} and {metric.high:g}, and "
                    f"'{rule.bound.text}' is outside."
                )


def _require(rule: Rule, what: str, name: str | None, known: Iterable[str]) -> None:
    known = tuple(dict.fromkeys(known))
    if name is not None and name not in known:
        raise UserError(f"{rule.source}: {what} {quoted(name)} is not known.{did_you_mean(name, known)}")


def leaves_of(rule: Rule, ratio: int, names: Names, leaves: Sequence[Leaf]) -> list[str]:
    """The leaf tasks whose questions a rule pools; of the policy's own benchmark those too that nobody evaluated.

    leaves: of all evaluations, without repeats. Raises UserError where the rule may mean two benchmarks.
    """
    benchmark = _benchmark(rule, names, leaves)
    mine = [leaf for leaf in leaves if (leaf.benchmark, leaf.split) == (benchmark, rule.split)]
    mine = [leaf for leaf in mine if leaf.ratio in (None, ratio) and rule.modality in (None, leaf.modality)]
    if benchmark != names.benchmark or (rule.task or next(iter(names.tasks))) not in names.tasks:
        fitting = [leaf for leaf in mine if rule.task in (None, leaf.task) and _has(leaf, rule.metric)]
        absent = "_".join(filter(None, (benchmark, rule.split, rule.task, rule.modality)))
        return [leaf.name for leaf in sorted(fitting, key=lambda leaf: leaf.sorting)] or [absent]
    by_place = {(leaf.task, leaf.modality): leaf.name for leaf in mine}
    named = names.splits[rule.split] and ratio != USUAL_RATIO
    group = f"{benchmark}_{rule.split}_{ratio}" if named else f"{benchmark}_{rule.split}"
    return [
        by_place.get((task, modality), f"{group}_{task}_{modality}")
        for task in tasks_of(rule, names, leaves)
        for modality in ((rule.modality,) if rule.modality else names.modalities)
    ]


def tasks_of(rule: Rule, names: Names, leaves: Sequence[Leaf] = ()) -> list[str]:
    """The tasks of the policy's benchmark that a rule speaks of: its own, else those that have its metric."""
    if rule.task:
        return [rule.task]
    if rule.metric in (SCORE, *MEASURED):
        return list(names.tasks)
    joined = {leaf.task for leaf in leaves if leaf.benchmark == names.benchmark and leaf.metric(rule.metric)}
    return [task for task, metrics in names.tasks.items() if rule.metric in metrics or task in joined]


def _has(leaf: Leaf, metric: str) -> bool:
    return metric in (SCORE, *MEASURED) or leaf.metric(metric) is not None


def _benchmark(rule: Rule, names: Names, leaves: Sequence[Leaf]) -> str:
    """The policy's own, unless the results hold such a split of another one alone."""
    holding = {leaf.benchmark for leaf in leaves if leaf.split == rule.split and rule.task in (None, leaf.task)}
    if names.benchmark in holding or (rule.split in names.splits and len(holding) != 1):
        return names.benchmark
    if len(holding) > 1:
        raise UserError(
            f"{rule.source}: {', '.join(sorted(holding))} have a split {quoted(rule.split)}; say which benchmark is "
            "meant with 'names:' in the policy."
        )
    return next(iter(holding), names.benchmark)
