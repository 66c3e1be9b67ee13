"""Finished cells -> rows: one score a split, what training took, and whether it forgot without destroying."""

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from mllmu_tasks import strict_yaml
from mllmu_tasks.artifacts.record import RECORD
from mllmu_tasks.results.columns import FORGET, RETAIN, Leaf
from mllmu_tasks.results.runs import Run, Sample
from mllmu_tasks.results.stats.means import Estimate, clustered_mean
from mllmu_tasks.results.validity import all_flaws

DESTROYED = 0.5
"""Below this share of the compared model's score in a task on retain a method destroys what it should keep."""


@dataclass(frozen=True)
class Row:
    """scores: a leaf that stands for its split -> mean over the tasks. seconds, trainable: None without training."""

    name: str
    scores: Mapping[Leaf, Estimate] = field(default_factory=dict)
    seconds: float | None = None
    trainable: int | None = None
    verdict: str = ""
    failed: str = ""


def row(name: str, run: Run | None, folder: Path | None, vanilla: Run | None) -> Row:
    """A row of a finished cell. run: its evaluation. folder: its adapter. vanilla: what it is compared with.

    An evaluation that is no result, or one of a part of the questions, is a failed row that says why.
    """
    if run and (flaws := all_flaws([run])):
        return Row(name, failed=f"not a result: {flaws[0]}" if flaws[0].void else f"not the whole: {flaws[0]}")
    training: Mapping = {}
    if folder is not None:
        record = strict_yaml.read(folder / RECORD, f"'{folder / RECORD}'")
        training = record["training"] or {"trainable_parameters": 0}
    return Row(
        name,
        scores(run) if run else {},
        training.get("seconds"),
        training.get("trainable_parameters"),
        verdict(run, vanilla) if run and vanilla and folder else "",
    )


def scores(run: Run) -> dict[Leaf, Estimate]:
    """Per split the mean of the tasks' mean scores, each task counting equally, clustered by person."""
    scored: dict[str, list[tuple[str, str, float]]] = defaultdict(list)
    first: dict[str, Leaf] = {}
    for sample in sorted(run.samples, key=lambda sample: sample.leaf.sorting):
        scored[sample.leaf.group].append((sample.leaf.task, sample.person, sample.score))
        first.setdefault(sample.leaf.group, sample.leaf)
    return {leaf: mean_of_tasks(scored[group]) for group, leaf in first.items()}


def mean_of_tasks(scored: Iterable[tuple[str, str, float]]) -> Estimate:
    """Mean of the tasks' means with its clustered standard error, from (task, person, score).

    Each question enters as the overall mean plus its weighted distance from its task's mean, which has the same
    mean and the same sums by person as the mean of means linearised.
    """
    scored = list(scored)
    by_task: dict[str, list[float]] = defaultdict(list)
    for task, _, score in scored:
        by_task[task].append(score)
    means = {task: sum(values) / len(values) for task, values in by_task.items()}
    overall = sum(means.values()) / len(means)
    share = {task: len(scored) / (len(means) * len(values)) for task, values in by_task.items()}
    values = [overall + share[task] * (score - means[task]) for task, _, score in scored]
    return clustered_mean(values, [person for _, person, _ in scored])


def verdict(run: Run, vanilla: Run) -> str:
    """`ok`, or what is wrong: forget down by no more than the fall's own standard error (which one person alone does
    not have), a task on retain below half of vanilla.
    """
    wrong = []
    down = fall(run, vanilla)
    if down is not None and down.mean <= (down.stderr or 0.0):
        wrong.append("does not forget")
    elif down is not None and down.stderr is None:
        wrong.append("falls, by an unknown error")
    kept, known = retained(run), retained(vanilla)
    lost = [task for task, score in kept.items() if task in known and score < DESTROYED * known[task]]
    if lost:
        wrong.append("destroys retain" + (f" ({', '.join(lost)})" if len(lost) < len(kept) else ""))
    return ", ".join(wrong) or "ok"


def fall(run: Run, vanilla: Run) -> Estimate | None:
    """How far forget lies below vanilla's: the mean of the tasks' mean differences on the questions of both runs,
    clustered by person. None if there is no such question.

    The same people answer the same questions, so the error is that of the differences, not of either score.
    """
    split = _first_split(vanilla, FORGET)
    before = {_question(s): s.score for s in vanilla.samples if s.leaf.split == split}
    pairs = [(s, before[_question(s)]) for s in run.samples if _question(s) in before]
    return mean_of_tasks((s.leaf.task, s.person, was - s.score) for s, was in pairs) if pairs else None


def _question(sample: Sample) -> tuple[Leaf, str, int]:
    return sample.leaf, sample.person, sample.question_index


def retained(run: Run) -> dict[str, float]:
    """Task -> mean score on the first split of what is retained."""
    split = _first_split(run, RETAIN)
    scored: dict[str, list[float]] = defaultdict(list)
    for sample in sorted(run.samples, key=lambda sample: sample.leaf.sorting):
        if sample.leaf.split == split:
            scored[sample.leaf.task].append(sample.score)
    return {task: sum(values) / len(values) for task, values in scored.items()}


def _first_split(run: Run, role: str) -> str | None:
    """The split of a role that a verdict is about: the first one, in the benchmark's order."""
    leaves = {sample.leaf for sample in run.samples if sample.leaf.role == role}
    return min(leaves, key=lambda leaf: leaf.sorting).split if leaves else None
