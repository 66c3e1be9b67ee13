import numpy as np
import pytest
from scipy import stats

from mllmu_tasks.results.contrast import Kind, contrast, holm
from mllmu_tasks.results.evidence import above_zero, cluster_t, gaffke


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
