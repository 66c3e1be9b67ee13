"""Error rates and power of the gate on simulated people; run as a script, it prints the power of the default policy.

Sizes are those of the 5 % forget set (25 people, less those shown as examples), 475 others and 153 celebrities.
A person has one strength that drives all of that person's answers, in every task, modality and split, so questions
of one person are correlated and rules are correlated with each other.
"""

from dataclasses import dataclass

import numpy as np
import pytest
from scipy import stats

from mllmu_tasks.benchmark import Split, Task
from mllmu_tasks.results.contrast import holm
from mllmu_tasks.results.evidence import above_zero, cluster_t
from mllmu_tasks.results.policy import load_policy
from mllmu_tasks.results.rules import Rule

RUNS = 2000
LEVEL = 0.05
HIGHEST = stats.binom.ppf(0.975, RUNS, LEVEL) / RUNS  # the upper end of the level's own 95 % interval
QUESTIONS = {Task.CLASSIFICATION: 5, Task.CLOZE: 2, Task.GENERATION: 2}
SHOWN = {Task.CLASSIFICATION: 1, Task.CLOZE: 2, Task.GENERATION: 0}
POLICY = load_policy(None)
TESTED = tuple(rule for rule in POLICY.rules if rule.metric == "score")


def strengths(normal, mean, correlation):
    """Normal strengths -> the chance of a right answer of each person: beta with this mean and correlation."""
    total = 1 / correlation - 1
    grid = np.linspace(-6, 6, 400)  # the quantile function is slow; between these points it is nearly straight
    return np.interp(normal, grid, stats.beta.ppf(stats.norm.cdf(grid), mean * total, (1 - mean) * total))


def answers(rng, chance, questions, task):
    """Sums over the questions of each person: 0 or 1 each, or a ROUGE-L that scatters around the chance."""
    if task is not Task.GENERATION:
        return rng.binomial(questions, chance).astype(float)
    scatter = np.minimum(chance, 1 - chance)
    return sum(chance + scatter * (rng.random(chance.shape) - 0.5) for _ in range(questions))


def p_value(sums, questions, lowest):
    """above_zero, without the dear second test where the first one says no anyway."""
    sizes = np.full_like(sums, questions)
    p = cluster_t(sums)
    likely = p <= LEVEL
    if likely.any():
        p[likely] = above_zero(sums[likely], sizes[likely], lowest)
    return p


@dataclass
class World:
    """What the model truly does: mean score by (split, task) and the drop against the baseline."""

    means: dict
    drop: float
    correlation: float = 0.3


def simulate(rules: tuple[Rule, ...], world: World, runs: int = RUNS, ratio: int = 5):
    """p-values for BROKEN and for HELD: two arrays (runs, rules)."""
    rng = np.random.default_rng(ratio)
    forget = 5 * ratio
    sizes = {"forget": forget, "retain": 500 - forget, "real": 153}
    normal = {group: rng.standard_normal((runs, people)) for group, people in sizes.items()}
    broken, held = np.empty((runs, len(rules))), np.empty((runs, len(rules)))
    for column, rule in enumerate(rules):
        mean, task = world.means[rule.split, rule.task], rule.task
        if rule.ceiling:
            people, questions = forget - SHOWN[task], QUESTIONS[task]
            chance = strengths(normal["forget"][:, :people], mean, world.correlation)
            here = answers(rng, chance, questions, task)
            sums, least, most = here - rule.bound.amount * questions, -rule.bound.amount, 1 - rule.bound.amount
        else:
            group, questions = str(rule.split), 2 * QUESTIONS[task]
            chance = strengths(normal[group], mean, world.correlation)
            before = answers(rng, chance, questions, task)
            # A tenth of the answers changes at random; `drop` more are lost.
            again = answers(rng, chance, questions, task)
            kept = 0.9 * before + 0.1 * again if task is Task.GENERATION else _redrawn(rng, before, chance, questions)
            lost = world.drop / mean
            after = kept * (1 - lost) if task is Task.GENERATION else rng.binomial(kept.astype(int), 1 - lost)
            sums = before - after + rule.bound.amount * questions
            least, most = -1 + rule.bound.amount, 1 + rule.bound.amount
        broken[:, column] = p_value(sums, questions, least)
        held[:, column] = p_value(-sums, questions, -most)
    return broken, held


def _redrawn(rng, right, chance, questions):
    changed_right = rng.binomial(right.astype(int), 0.1)
    changed_wrong = rng.binomial((questions - right).astype(int), 0.1)
    return right - changed_right + rng.binomial(changed_right + changed_wrong, chance)


def at_the_bounds(correlation):
    """Nothing is broken and nothing is held: every score lies exactly on its bound."""
    means = {(rule.split, rule.task): rule.bound.amount if rule.ceiling else 0.5 for rule in TESTED}
    return World(means, drop=0.05, correlation=correlation)


@pytest.mark.parametrize("correlation", [0.05, 0.3, 0.8])
def test_false_alarms_on_null_runs(correlation):
    broken, held = simulate(TESTED, at_the_bounds(correlation))
    any_false_alarm = (broken.min(axis=1) <= LEVEL / len(TESTED)).mean()  # Holm's first step
    assert any_false_alarm <= HIGHEST
    assert (broken <= LEVEL).mean(axis=0).max() <= HIGHEST  # each rule alone, before any correction
    assert (held <= LEVEL).mean(axis=0).max() <= HIGHEST


def test_true_alarms_beside_null_rules_do_not_make_false_ones():
    world = at_the_bounds(0.3)
    world.means[Split.FORGET, Task.GENERATION] = 0.75
    broken, _ = simulate(TESTED, world)
    null = np.array([(rule.split, rule.task) != (Split.FORGET, Task.GENERATION) for rule in TESTED])
    adjusted = np.array([holm(row) for row in broken])
    assert (adjusted[:, ~null] <= LEVEL).mean() > 0.99
    assert (adjusted[:, null] <= LEVEL).any(axis=1).mean() <= HIGHEST


@pytest.mark.parametrize("people", [5, 9, 25])
@pytest.mark.parametrize("chance", [0.05, 0.2, 0.45])
def test_people_who_know_all_or_nothing(people, chance):
    """The worst case for the t test: one coin a person. Here the second test is exact."""
    knows = np.random.default_rng(people).binomial(1, chance, (RUNS, people)) * 5.0
    assert (p_value(knows - 5 * chance, 5, -chance) <= LEVEL).mean() <= HIGHEST
    assert (p_value(5 * chance - knows, 5, chance - 1) <= LEVEL).mean() <= HIGHEST


@pytest.mark.parametrize("people", [9, 25])
def test_unequal_numbers_of_questions_that_go_with_the_score(people):
    """Who knows little is asked more often: the mean over questions is at the bound, the mean over people is not."""
    rng = np.random.default_rng(people)
    sizes = rng.choice([2.0, 6.0], (RUNS, people))
    right = rng.binomial(sizes.astype(int), np.where(sizes == 2, 0.7, 0.3))  # 3.2 of 8: 0.4 a question
    for sign in (1, -1):
        p = above_zero(sign * (right - 0.4 * sizes), sizes, -0.4 if sign > 0 else -0.6)
        assert (p <= LEVEL).mean() <= HIGHEST


def test_questions_taken_for_the_sample_would_raise_false_alarms():
    """What clustering is for: the test by question is wrong seven times as often as it says."""
    chance = strengths(np.random.default_rng(1).standard_normal((RUNS, 24)), 0.45, 0.8)
    right = answers(np.random.default_rng(2), chance, 5, Task.CLASSIFICATION).sum(axis=1)
    naive = (right / 120 - 0.45) / np.sqrt(0.45 * 0.55 / 120) > stats.norm.isf(LEVEL)
    assert naive.mean() > 3 * LEVEL


REMEMBERS = World(
    {(Split.FORGET, Task.CLASSIFICATION): 0.49, (Split.FORGET, Task.CLOZE): 0.2, (Split.FORGET, Task.GENERATION): 0.6}
    | {(Split.TEST, Task.CLASSIFICATION): 0.47, (Split.TEST, Task.CLOZE): 0.2, (Split.TEST, Task.GENERATION): 0.5}
    | {(split, task): 0.5 for split in (Split.RETAIN, Split.REAL) for task in Task},
    drop=0.0,
)
FORGOT = World(
    {(split, Task.CLASSIFICATION): 0.27 for split in (Split.FORGET, Split.TEST)}
    | {(split, Task.CLOZE): 0.03 for split in (Split.FORGET, Split.TEST)}
    | {(split, Task.GENERATION): 0.2 for split in (Split.FORGET, Split.TEST)}
    | {(split, task): 0.5 for split in (Split.RETAIN, Split.REAL) for task in Task},
    drop=0.0,
)
DAMAGED = World(FORGOT.means, drop=0.1)


def power(world: World, runs: int = 500, ratio: int = 5) -> dict[str, float]:
    """Shares of the runs with the three verdicts of the whole default policy."""
    broken, held = simulate(TESTED, world, runs, ratio)
    says_broken = np.array([min(holm(row)) <= LEVEL for row in broken])
    says_held = (held <= LEVEL).all(axis=1) & ~says_broken
    shares = {"BROKEN": says_broken.mean(), "HELD": says_held.mean()}
    return {name: round(float(share), 3) for name, share in (*shares.items(), ("UNDECIDED", 1 - sum(shares.values())))}


def test_power_of_the_default_policy(record_property):
    worlds = {"remembers": REMEMBERS, "forgot": FORGOT, "damaged": DAMAGED}
    found = {name: power(world, runs=200) for name, world in worlds.items()}
    record_property("power", str(found))
    assert found["remembers"]["BROKEN"] > 0.6
    assert found["damaged"]["BROKEN"] > 0.95
    assert found["forgot"]["BROKEN"] < LEVEL / 2
    assert found["forgot"]["HELD"] > 0.3
    assert found["remembers"]["HELD"] == found["damaged"]["HELD"] == 0


def report() -> None:
    for correlation in (0.1, 0.3):
        for name, world in {"remembers": REMEMBERS, "forgot": FORGOT, "damaged": DAMAGED}.items():
            for ratio in (5, 10, 15):
                print(f"{name:<10} correlation {correlation} ratio {ratio:>2}", end=" ")
                print(power(World(world.means, world.drop, correlation), ratio=ratio))
    for name, world in {"remembers": REMEMBERS, "forgot": FORGOT, "damaged": DAMAGED}.items():
        broken, held = simulate(TESTED, world, 500)
        for column, rule in enumerate(TESTED):
            first, kept = (broken[:, column] <= LEVEL / len(TESTED)).mean(), (held[:, column] <= LEVEL).mean()
            print(f"{name:<10} {rule.name:<30} broken {first:.2f} held {kept:.2f}")
    for correlation in (0.05, 0.3, 0.8):
        broken, held = simulate(TESTED, at_the_bounds(correlation))
        alarms = (broken.min(axis=1) <= LEVEL / len(TESTED)).mean(), (broken <= LEVEL).mean(axis=0).max()
        print(f"null, correlation {correlation}: any false alarm {alarms[0]:.4f}, worst rule {alarms[1]:.4f}", end=" ")
        print(f"false HELD {(held <= LEVEL).mean(axis=0).max():.4f}")


if __name__ == "__main__":
    report()
