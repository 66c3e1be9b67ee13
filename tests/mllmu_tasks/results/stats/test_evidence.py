import itertools

import numpy as np
import pytest
from scipy import stats

from mllmu_tasks.results.stats.contrast import Kind, contrast, holm
from mllmu_tasks.results.stats.evidence import (
    DRAWS,
    above_zero,
    above_zero_by_flips,
    cluster_t,
    gaffke,
    sign_flip,
    skewed_t,
)


@pytest.mark.parametrize("people", [1, 2, 5, 9, 25, 475])
@pytest.mark.parametrize("bound", [0.05, 1 / 3, 0.8])
def test_gaffke_is_the_binomial_test_on_yes_or_no(people, bound):
    for right in {0, 1, people // 2, people}:
        scores = np.repeat([1.0, 0.0], [right, people - right])
        exact = stats.binom.sf(right - 1, people, bound)
        assert gaffke(scores - bound, -bound) == pytest.approx(exact, rel=1e-6, abs=1e-12)


def test_gaffke_agrees_with_drawing_the_weights():
    rng = np.random.default_rng(0)
    for people in (2, 9, 30):
        scores = rng.beta(0.4, 0.6, people) - 0.3
        weights = rng.standard_exponential((200_000, people + 1))
        drawn = (weights @ np.append(scores, -0.3) <= 0).mean()
        assert gaffke(scores, -0.3) == pytest.approx(drawn, abs=0.005)


def test_rows_are_tested_alone_and_copies_are_people():
    rows = np.random.default_rng(1).random((7, 12)) - 0.4
    assert gaffke(rows, -0.4) == pytest.approx([float(gaffke(row, -0.4)) for row in rows])
    assert gaffke(rows[0], -0.4, copies=3) == pytest.approx(float(gaffke(np.tile(rows[0], 3), -0.4)))
    assert cluster_t(rows[0], copies=3) == pytest.approx(float(cluster_t(np.tile(rows[0], 3))))
    with pytest.raises(ValueError, match="below 0"):
        gaffke(rows, 0.0)


def test_the_t_test_is_students_and_knows_its_limits():
    sums = np.array([0.5, -0.2, 1.0, 0.7])
    assert cluster_t(sums) == pytest.approx(stats.ttest_1samp(sums, 0, alternative="greater").pvalue)
    assert cluster_t(np.array([1.0])) == 1
    assert cluster_t(np.ones(5)) == 0
    assert cluster_t(-np.ones(5)) == 1
    assert above_zero(np.ones(5), np.ones(5), -0.5) == pytest.approx((1 / 3) ** 5)


@pytest.mark.parametrize("people", [1, 4, 9, 13])
def test_sign_flips_are_exact_for_few_people(people):
    sums = np.round(np.random.default_rng(people).normal(0.3, 1, (3, people)), 1)  # with ties
    signs = np.array(list(itertools.product((1, -1), repeat=people)))
    exact = [(signs @ row >= row.sum() - 1e-9).mean() for row in sums]
    assert sign_flip(sums) == pytest.approx(exact)


def test_sign_flips_are_drawn_for_many_people():
    rows = np.random.default_rng(5).normal(0.2, 1, (2, 16))
    signs = 1 - 2 * (np.arange(2**16)[:, None] >> np.arange(16) & 1)
    exact = [(signs @ row >= row.sum() - 1e-12).mean() for row in rows]
    assert sign_flip(rows) == pytest.approx(exact, abs=0.015)
    assert sign_flip(rows[0]) == sign_flip(rows)[0]  # the same choices each time
    assert sign_flip(np.ones(30)) == 1 / (DRAWS + 1)  # never 0
    assert sign_flip(np.tile(rows[0], 100)) == pytest.approx(float(sign_flip(rows[0], copies=100)))


def test_sign_flips_at_the_edges():
    assert sign_flip(np.zeros(20)) == 1
    assert sign_flip(np.zeros(5), copies=3) == 1
    assert sign_flip(np.append(np.ones(3), np.zeros(2000))) == 1 / 8  # who does not differ changes nothing
    assert sign_flip(-np.ones(4)) == 1
    assert above_zero_by_flips(np.ones(5)) == 1 / 32  # where t says 0
    thirds = np.array([1 / 3, 1 / 3, -2 / 3])
    assert sign_flip(thirds) == sign_flip(3 * thirds)  # a choice that sums to 0 but for rounding counts


def test_skewness_is_taken_out_of_the_t_test():
    even = np.array([-1.0, 0.0, 0.5, 1.0, 2.0])  # no third moment
    assert skewed_t(even) == pytest.approx(float(cluster_t(even)))
    tail_below = np.array([0.3] * 9 + [-1.0])
    assert skewed_t(tail_below) > cluster_t(tail_below)
    assert above_zero_by_flips(tail_below) >= skewed_t(tail_below)
    rng = np.random.default_rng(9)
    sums = 0.8 - rng.gamma(0.8, 1.0, (2000, 40))  # mean 0, skewness -2.2
    assert (cluster_t(sums) <= 0.05).mean() > 0.085
    assert (skewed_t(sums) <= 0.05).mean() <= 0.065
    assert skewed_t(np.ones(4)) == 0
    assert skewed_t(np.array([1.0])) == 1
    assert skewed_t(sums[0], copies=3) == pytest.approx(float(skewed_t(np.tile(sums[0], 3))))


def test_a_fall_below_the_origin_is_tested_by_sign_flips_and_nothing_else_is():
    rng = np.random.default_rng(6)
    before = rng.binomial(1, 0.6, 200).astype(float)
    after = before * rng.binomial(1, 0.7, 200)
    people = np.repeat(range(20), 10)
    pair = contrast(Kind.DIFFERENCE, people, after, before, origin=True)
    plain = contrast(Kind.DIFFERENCE, people, after, before)
    fall = -(pair.here - pair.there)
    assert pair.p_below(-0.1) == pytest.approx(float(above_zero_by_flips(fall - 1.0)))
    assert plain.p_below(-0.1) == pytest.approx(float(above_zero(fall - 1.0, pair.sizes, -0.9 - 0.2)))
    assert pair.p_below(-0.1) < plain.p_below(-0.1)
    assert pair.p_above(-0.3) == plain.p_above(-0.3)
    share = contrast(Kind.SHARE, people, after, before, origin=True)
    assert share.p_below(0.9) == pytest.approx(float(above_zero_by_flips(0.9 * pair.there - pair.here)))
    assert share.p_above(0.5) == contrast(Kind.SHARE, people, after, before).p_above(0.5)


def test_what_shows_a_fall_also_shows_that_nothing_rose():
    before = np.repeat([1.0, 0.0], [12, 8])
    after = np.repeat([0.0], 20)
    pair = contrast(Kind.DIFFERENCE, range(20), after, before, origin=True)
    steps = [pair.p_below(bound) for bound in np.arange(-0.9, 0.9, 0.05)]
    assert steps == sorted(steps, reverse=True)
    low, high = pair.interval(0.05)
    assert low < pair.value < high < 0
    assert pair.p_below(high + 1e-4) <= 0.05 < pair.p_below(high - 1e-4)


def test_nine_who_know_everything_decide_and_three_do_not():
    nine = contrast(Kind.SCORE, np.repeat(range(9), 5), np.ones(45))
    assert nine.p_above(1 / 3) * 20 < 0.05  # also beside 19 other rules
    three = contrast(Kind.SCORE, np.repeat(range(3), 5), np.ones(15))
    assert three.p_above(1 / 3) * 2 > 0.05
    assert three.people_needed(1 / 3, 0.05 / 20) == 6


def test_intervals_are_where_the_tests_turn():
    rng = np.random.default_rng(3)
    here, there = rng.random(60), rng.random(60)
    for kind, bound in ((Kind.SCORE, 0.4), (Kind.DIFFERENCE, 0.0), (Kind.SHARE, 0.9)):
        found = contrast(kind, np.repeat(range(20), 3), here, None if kind is Kind.SCORE else there)
        low, high = found.interval(0.05)
        assert low < found.value < high
        assert found.p_above(low) == pytest.approx(0.05, abs=1e-3)
        assert found.p_below(high) == pytest.approx(0.05, abs=1e-3)
        assert (found.p_above(bound) <= 0.05) == (bound <= low)


def test_people_needed_would_decide():
    scores = np.random.default_rng(4).binomial(1, 0.3, 75)
    few = contrast(Kind.SCORE, np.repeat(range(15), 5), scores)
    needed = few.people_needed(0.45, 0.05)
    assert needed > 15
    assert few.p_below(0.45, needed / 15) <= 0.05
    assert few.p_below(0.45, 0.95 * needed / 15) > 0.05
    assert few.people_needed(few.value, 0.05) is None


def test_people_needed_for_a_fall():
    rng = np.random.default_rng(8)
    before = rng.binomial(1, 0.5, 60).astype(float)
    after = before * rng.binomial(1, 0.85, 60)
    few = contrast(Kind.DIFFERENCE, np.repeat(range(12), 5), after, before, origin=True)
    assert few.p_below(-0.03) > 0.05
    needed = few.people_needed(-0.03, 0.05)
    assert 12 < needed < 60
    assert few.p_below(-0.03, needed / 12) <= 0.05


def test_edges_of_the_scale():
    silent = contrast(Kind.SCORE, np.repeat(range(20), 2), np.zeros(40))
    assert silent.interval(0.05) == (0.0, pytest.approx(1 - 0.05 ** (1 / 20), abs=1e-4))
    assert silent.p_above(0.0) == 1
    assert contrast(Kind.SCORE, ["a", "b"], [0.0, 0.5]).p_above(0.0) == 0  # one positive score is proof
    nothing = contrast(Kind.SHARE, ["a", "b"], [0.0, 0.5], [0.0, 0.0])
    assert np.isnan(nothing.value)
    with pytest.raises(ValueError, match="no questions"):
        contrast(Kind.SCORE, [], [])


def test_holm():
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([0.6, 0.9]) == [1.0, 1.0]
    assert holm([]) == []
