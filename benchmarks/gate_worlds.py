"""Simulated people for `mllmu check`: what a model truly does, and the p-values that the gate's rules then give.

A person has one strength that drives all of that person's answers, in every task, modality and split, so questions
of one person are correlated and rules are correlated with each other. Retain has the 475 people of the 5 % set.
"""

import itertools
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from functools import lru_cache

import numpy as np
from scipy import stats

from mllmu_tasks.benchmarks.mllmu.spec import Modality, Split, Task
from mllmu_tasks.results.gate.names import default_names
from mllmu_tasks.results.gate.policy import default_text, parse_policy
from mllmu_tasks.results.gate.rules import Rule
from mllmu_tasks.results.stats.evidence import above_zero_by_flips, cluster_t, gaffke

LEVEL = 0.05
QUESTIONS = {Task.CLASSIFICATION: 5, Task.CLOZE: 2, Task.GENERATION: 2}
SHOWN = {Task.CLASSIFICATION: 1, Task.CLOZE: 2, Task.GENERATION: 0}
PEOPLE = {5: 25, 10: 50, 15: 75}
_GRID = np.linspace(-6, 6, 400)
TEMPLATE = 0.38
"""ROUGE-L of an answer in the right form with the wrong facts; one that is word for word scores 1."""


@dataclass(frozen=True)
class Gate:
    """Rules that are tested, and whether falls are tested by sign flips."""

    rules: tuple[Rule, ...]
    flips: bool = True


def gate(text: str, *, flips: bool = True) -> Gate:
    return Gate(tuple(rule for rule in parse_policy(text, "simulated").rules if rule.metric == "score"), flips)


DEFAULT = gate(default_text())


@dataclass(frozen=True)
class World:
    """What the model truly does.

    scores: (split, task) -> true mean score by picture and by name. loss: fall on retain and real, where the model
    scored `before`. churn: share of the answers that change anyway. people: strengths are `beta`, or of two `kinds`.
    rouge: `smooth`, or `words` (word for word or template). losses: `spread` over the answers, or by whole `people`.
    """

    scores: dict = field(default_factory=dict, hash=False)
    loss: float = 0.0
    churn: float = 0.1
    correlation: float = 0.3
    people: str = "beta"
    rouge: str = "smooth"
    losses: str = "spread"
    before: float = 0.5


def scores(classification: float | tuple, cloze: float | tuple, generation: float | tuple) -> dict:
    """True means on forget and test; one number is by picture and by name alike."""
    given = {Task.CLASSIFICATION: classification, Task.CLOZE: cloze, Task.GENERATION: generation}
    return {
        (split, task): value if isinstance(value, tuple) else (value, value)
        for split in (Split.FORGET, Split.TEST)
        for task, value in given.items()
    }


def chances(normal: np.ndarray, mean: float, world: World) -> np.ndarray:
    """Normal strengths -> each person's chance, with this mean and the world's within-person correlation."""
    if mean in (0.0, 1.0):
        return np.full_like(normal, mean)
    if world.people == "kinds":
        root = np.sqrt(world.correlation)
        return np.where(normal > stats.norm.isf(mean), mean + root * (1 - mean), mean - root * mean)
    return np.interp(normal, _GRID, _quantiles(mean, world.correlation))


@lru_cache(maxsize=256)
def _quantiles(mean: float, correlation: float) -> np.ndarray:
    """Of the beta distribution, on a grid: its quantile function is slow, and between these points nearly straight."""
    total = 1 / correlation - 1
    return stats.beta.ppf(stats.norm.cdf(_GRID), mean * total, (1 - mean) * total)


def answers(
    rng: np.random.Generator, normal: np.ndarray, mean: float, questions: int, task: Task, world: World, fall: float
) -> tuple[np.ndarray, np.ndarray]:
    """Summed scores of each person before and after a fall of the mean."""
    floor = min(TEMPLATE, 0.9 * (mean - fall)) if task is Task.GENERATION and world.rouge == "words" else 0.0
    level = (mean - floor) / (1 - floor)
    chance = chances(normal, level, world)
    lost = fall / (1 - floor) / level if fall else 0.0
    alive = rng.random(normal.shape) >= lost if world.losses == "people" else None
    if task is Task.GENERATION and world.rouge == "smooth":
        scatter = np.minimum(chance, 1 - chance)
        one, two = (
            sum(chance + scatter * (rng.random(chance.shape) - 0.5) for _ in range(questions)) for _ in range(2)
        )
        kept = (1 - world.churn) * one + world.churn * two
        after = kept * alive if alive is not None else kept * (1 - lost)
        return tuple(np.round(20 * sums) / 20 for sums in (one, after))  # few words a person: ROUGE-L has steps
    right = rng.binomial(questions, chance)
    changed_right, changed_wrong = rng.binomial(right, world.churn), rng.binomial(questions - right, world.churn)
    kept = right - changed_right + rng.binomial(changed_right + changed_wrong, chance)
    after = kept * alive if alive is not None else rng.binomial(kept, 1 - lost)
    return tuple(floor * questions + (1 - floor) * sums for sums in (right, after))


def p_value(sums: np.ndarray, questions: int, lowest: float | None) -> np.ndarray:
    """The larger of the gate's p-values; lowest None: for a fall. Where t says no, what t says: much faster."""
    p = cluster_t(sums)
    likely = p <= LEVEL
    if likely.any():
        second = above_zero_by_flips(sums[likely]) if lowest is None else _gaffke(sums[likely] / questions, lowest)
        p[likely] = np.maximum(p[likely], second)
    return p


def _gaffke(values: np.ndarray, lowest: float) -> np.ndarray:
    """Equal people as one with their number as weight: much faster on hundreds."""
    levels = np.unique(values)
    if 2 * len(levels) > values.shape[1]:
        return gaffke(values, lowest)
    places = np.searchsorted(levels, values) + len(levels) * np.arange(len(values))[:, None]
    counts = np.bincount(places.ravel(), minlength=len(levels) * len(values)).reshape(len(values), -1)
    return gaffke(np.where(counts, levels, 0.0), lowest, counts)


@dataclass(frozen=True)
class Found:
    """p-values of BROKEN and of HELD (0 or 1 for a guard, which is measured): arrays (runs, rules)."""

    broken: np.ndarray
    held: np.ndarray

    def verdicts(self) -> dict[str, float]:
        """Shares of the runs with each verdict of the whole policy."""
        says_broken = self.any_broken(LEVEL)
        says_held = (self.held <= LEVEL).all(axis=1) & ~says_broken
        return {
            "BROKEN": float(says_broken.mean()),
            "HELD": float(says_held.mean()),
            "UNDECIDED": float((~says_broken & ~says_held).mean()),
        }

    def any_broken(self, level: float) -> np.ndarray:
        return self.broken.min(axis=1) <= level / self.broken.shape[1]  # Holm's first step


def simulate(world: World, gate: Gate = DEFAULT, runs: int = 1000, ratio: int = 5, seed: int = 0) -> Found:
    """The gate's rules on simulated runs. Ceilings and floors are about other people, so floors are drawn once."""
    broken, held = np.empty((runs, len(gate.rules))), np.empty((runs, len(gate.rules)))
    cells = _forget_cells(world, runs, ratio, seed)
    plain = replace(world, scores={})
    for column, rule in enumerate(gate.rules):
        if not rule.ceiling:
            broken[:, column], held[:, column] = _floor(plain, rule, gate.flips, runs, seed)
            continue
        parts = [cells[rule.split, rule.task, m] for m in Modality if rule.modality in (None, m)]
        questions, bound = len(parts) * QUESTIONS[rule.task], rule.bound.amount
        sums = sum(parts) - bound * questions
        broken[:, column] = p_value(sums, questions, -bound)
        kept = (sums.sum(axis=1) > 1e-9).astype(float)
        held[:, column] = kept if rule.guard else p_value(-sums, questions, bound - 1)
    return Found(broken, held)


def _forget_cells(world: World, runs: int, ratio: int, seed: int) -> dict:
    rng = np.random.default_rng((ratio, seed))
    normal = rng.standard_normal((runs, PEOPLE[ratio]))
    return {
        (split, task, modality): answers(
            rng, normal[:, SHOWN[task] :], mean, QUESTIONS[task], task, replace(world, losses="spread"), 0.0
        )[1]
        for (split, task), means in world.scores.items()
        for modality, mean in zip(Modality, means, strict=True)
    }


@lru_cache(maxsize=64)
def _floor(world: World, rule: Rule, flips: bool, runs: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """p-values of BROKEN and HELD; only those of BROKEN depend on the test of falls."""
    questions, bound = 2 * QUESTIONS[rule.task], rule.bound.amount
    differences = _differences(world, rule, runs, seed)
    broken = p_value(bound * questions - differences, questions, None if flips else bound - 1)
    return broken, _held(world, rule, runs, seed)


@lru_cache(maxsize=64)
def _held(world: World, rule: Rule, runs: int, seed: int) -> np.ndarray:
    questions, bound = 2 * QUESTIONS[rule.task], rule.bound.amount
    return p_value(_differences(world, rule, runs, seed) - bound * questions, questions, -1 - bound)


def _differences(world: World, rule: Rule, runs: int, seed: int) -> np.ndarray:
    people = 153 if rule.split == Split.REAL else 475 - SHOWN[rule.task]
    task = list(default_names().tasks).index(rule.task)
    rng = np.random.default_rng((seed, 1 + list(Split).index(rule.split), task))
    normal = rng.standard_normal((runs, people))
    before, after = answers(rng, normal, world.before, 2 * QUESTIONS[rule.task], rule.task, world, world.loss)
    return np.round(after - before, 9)


def shown_fall(task: Task, mean: float, fall: float, people: int, world: World, flips: bool, runs: int) -> float:
    """How often `at_most: baseline` is HELD, modalities pooled, where the score truly fell by `fall`."""
    rng = np.random.default_rng((people, int(1000 * fall)))
    questions = 2 * QUESTIONS[task]
    before, after = answers(rng, rng.standard_normal((runs, people)), mean, questions, task, world, fall)
    return float((p_value(before - after, questions, None if flips else -1.0) <= LEVEL).mean())


def at_the_bounds(**world: float | str) -> World:
    """Nothing is broken and nothing is held: every score lies exactly on its bound."""
    return World(scores(0.45, 0.20, 0.40), loss=0.05, **world)


def null_worlds() -> Iterator[World]:
    for correlation, people, rouge, (losses, churn) in itertools.product(
        (0.1, 0.3, 0.6), ("beta", "kinds"), ("smooth", "words"), (("spread", 0.5), ("people", 0.1))
    ):
        yield at_the_bounds(correlation=correlation, people=people, rouge=rouge, losses=losses, churn=churn)
