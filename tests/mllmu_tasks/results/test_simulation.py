"""Error rates and power of the gate on simulated people; `benchmarks/gate_power.py` does the same at length."""

from dataclasses import replace

import gate_power
import numpy as np
import pytest
from gate_worlds import DEFAULT, LEVEL, Gate, World, answers, at_the_bounds, chances, p_value, scores, simulate
from scipy import stats

from mllmu_tasks.benchmarks.mllmu.spec import Split, Task
from mllmu_tasks.results.stats.contrast import Contrast, Kind, holm
from mllmu_tasks.results.stats.evidence import above_zero, sign_flip

RUNS = 1000
HIGHEST = stats.binom.ppf(0.975, RUNS, LEVEL) / RUNS  # the upper end of the level's own 95 % interval
TESTED = np.array([not rule.guard for rule in DEFAULT.rules])
CEILINGS = Gate(tuple(rule for rule in DEFAULT.rules if rule.ceiling))
"""Forget and test: what the worlds below differ in, and much faster than retain's hundreds of people."""


@pytest.mark.parametrize(
    "world",
    [
        at_the_bounds(correlation=0.05),
        at_the_bounds(correlation=0.3, people="kinds", rouge="words"),
        at_the_bounds(correlation=0.6, rouge="words", losses="people"),
        at_the_bounds(correlation=0.6, people="kinds", churn=0.5),
    ],
    ids=lambda world: f"{world.correlation}-{world.people}-{world.rouge}-{world.losses}-{world.churn}",
)
def test_false_alarms_and_false_passes_on_null_runs(world):
    found = simulate(world, runs=RUNS)
    assert found.any_broken(LEVEL).mean() <= HIGHEST / 2
    assert (found.broken <= LEVEL).mean(axis=0).max() <= HIGHEST  # each rule alone, before any correction
    assert (found.held[:, TESTED] <= LEVEL).mean(axis=0).max() <= HIGHEST
    assert found.verdicts()["HELD"] == 0


@pytest.mark.parametrize("task", Task)
def test_one_rule_on_its_bound_and_the_others_far_inside(task):
    only = {(Split.FORGET, task): ({"classification": 0.45, "cloze": 0.2, "generation": 0.4}[task],) * 2}
    far = scores(0.05, 0.005, 0.05)
    assert simulate(World(far | only), CEILINGS, RUNS).verdicts()["HELD"] <= HIGHEST
    assert simulate(World(far), CEILINGS, 100).verdicts()["HELD"] > 0.95


def test_true_alarms_beside_null_rules_do_not_make_false_ones():
    world = at_the_bounds()
    world.scores[Split.FORGET, Task.GENERATION] = (0.75, 0.75)
    broken = simulate(world, CEILINGS, RUNS).broken
    null = np.array([(rule.split, rule.task) != (Split.FORGET, Task.GENERATION) for rule in CEILINGS.rules])
    adjusted = np.array([holm(row) for row in broken])
    assert (adjusted[:, ~null] <= LEVEL).any(axis=1).mean() > 0.99
    assert (adjusted[:, null] <= LEVEL).any(axis=1).mean() <= HIGHEST


@pytest.mark.parametrize("people", [5, 9, 25])
@pytest.mark.parametrize("chance", [0.05, 0.2, 0.45])
def test_people_who_know_all_or_nothing(people, chance):
    """The worst case for the t test: one coin a person. Here Gaffke's test is exact."""
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
    fallen = rng.binomial(sizes.astype(int), np.where(sizes == 2, 0.25, 0.05))  # .1 of the questions
    assert (p_value(fallen - 0.1 * sizes, 6, None) <= LEVEL).mean() <= HIGHEST


@pytest.mark.parametrize("people", [5, 9, 25, 75])
@pytest.mark.parametrize("losses", ["spread", "people"])
@pytest.mark.parametrize(("task", "mean"), [(Task.CLASSIFICATION, 0.5), (Task.CLOZE, 0.2), (Task.GENERATION, 0.6)])
def test_falls_that_end_on_their_bound(people, losses, task, mean):
    for kind, rouge, churn in (("beta", "smooth", 0.1), ("kinds", "words", 0.5)):
        world = World(losses=losses, people=kind, rouge=rouge, churn=churn)
        rng = np.random.default_rng(people)
        before, after = answers(rng, rng.standard_normal((RUNS, people)), mean, 4, task, world, 0.1)
        assert (p_value(before - after - 0.4, 4, None) <= LEVEL).mean() <= HIGHEST


def test_sign_flips_would_pass_what_lost_whole_people():
    """Why "not more than .05 below" keeps Gaffke: one in ten lost everything, and a sample may hold none of them."""
    rng = np.random.default_rng(0)
    before = rng.binomial(10, chances(rng.standard_normal((RUNS, 25)), 0.5, World()))
    after = np.where(rng.random(before.shape) < 0.1, 0, before)  # .05 lower: on the bound
    sums = after - before + 0.05 * 10
    assert (sign_flip(sums) <= LEVEL).mean() > 0.09
    assert (p_value(sums, 10, -0.95) <= LEVEL).mean() <= HIGHEST


def test_the_simulated_p_values_are_those_of_the_gate():
    """Where they are at most 5 %: above, the simulation leaves out the second test."""
    rng = np.random.default_rng(7)
    before, after = answers(rng, rng.standard_normal((5, 24)), 0.5, 10, Task.CLASSIFICATION, World(), 0.2)
    for was, now in zip(before, after, strict=True):
        pair = Contrast(Kind.DIFFERENCE, now, was, np.full(24, 10.0), origin=True)
        for sums, lowest, p in (
            (was - now - 0.05 * 10, None, pair.p_below(-0.05)),
            (now - was + 0.45 * 10, -0.55, pair.p_above(-0.45)),
        ):
            assert p <= LEVEL
            assert p_value(sums[None], 10, lowest)[0] == pytest.approx(p)


def test_questions_taken_for_the_sample_would_raise_false_alarms():
    """What clustering is for: the test by question is wrong seven times as often as it says."""
    rng = np.random.default_rng(1)
    world = World(correlation=0.8)
    right = answers(rng, rng.standard_normal((RUNS, 24)), 0.45, 5, Task.CLASSIFICATION, world, 0.0)[0].sum(axis=1)
    naive = (right / 120 - 0.45) / np.sqrt(0.45 * 0.55 / 120) > stats.norm.isf(LEVEL)
    assert naive.mean() > 3 * LEVEL


def test_known_by_name_and_avoided_by_picture_does_not_pass_by_averaging():
    world = gate_power.LEVELS["known by name, avoided by picture"]  # every pooled score lies within its bound
    unguarded = Gate(tuple(rule for rule in CEILINGS.rules if not rule.guard))
    assert simulate(world, unguarded, 100, ratio=15).verdicts()["HELD"] > 0.1
    assert simulate(world, CEILINGS, 100, ratio=15).verdicts()["BROKEN"] > 0.99
    few = simulate(world, CEILINGS, 200).verdicts()
    assert few["BROKEN"] > 0.8
    assert few["HELD"] == 0


def test_power_of_the_default_policy():
    names = ("remembers (.49, .20, .60)", "forgot (.27, .03, .20)", "forgot, and lost .10 elsewhere")
    remembers, forgot, lost = (simulate(gate_power.LEVELS[name], runs=100).verdicts() for name in names)
    assert remembers["BROKEN"] > 0.5
    assert lost["BROKEN"] > 0.95
    assert forgot["BROKEN"] < LEVEL / 2
    assert forgot["HELD"] > 0.45
    assert remembers["HELD"] == lost["HELD"] == 0


@pytest.mark.parametrize("task", Task)
def test_sign_flips_show_smaller_falls(task):
    mean = {"classification": 0.5, "cloze": 0.2, "generation": 0.6}[task]
    shown = [gate_power.shown_fall(task, mean, 0.12, 25, World(), flips, 200) for flips in (False, True)]
    assert shown[1] > 0.8 > shown[0] + 0.2


def test_pooling_passes_more_of_those_that_never_knew():
    knew_never = gate_power.LEVELS["OPEN-MMUNLEARNING, never knew"]
    by_modality, pooled = (
        simulate(replace(knew_never, correlation=0.1), gate, 200, ratio=15).verdicts()
        for gate in (Gate(tuple(rule for rule in gate_power.GATES["before"].rules if rule.ceiling)), CEILINGS)
    )
    assert pooled["HELD"] > by_modality["HELD"] + 0.1


def test_the_script_prints_its_tables(monkeypatch, capsys):
    for table, lines in (("power", 6 * len(gate_power.LEVELS)), ("errors", 3 * 24 + 3 * 6)):
        monkeypatch.setattr("sys.argv", ["gate_power.py", table, "--runs", "2"])
        gate_power.main()
        printed = capsys.readouterr().out.splitlines()
        assert len(printed) == lines
        assert all("HELD" in line for line in printed)
