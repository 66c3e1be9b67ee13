import math

import numpy as np
import pytest

from mllmu_tasks.results.stats.means import clustered_mean


def test_one_question_a_person_is_the_ordinary_standard_error():
    scores = [0.0, 1.0, 1.0, 0.5]
    estimate = clustered_mean(scores, ["a", "b", "c", "d"])
    assert estimate.mean == pytest.approx(0.625)
    assert estimate.stderr == pytest.approx(np.std(scores, ddof=1) / 2)
    assert (estimate.questions, estimate.people) == (4, 4)


def test_copies_of_a_persons_question_add_no_certainty():
    once = clustered_mean([0.0, 1.0, 1.0], ["a", "b", "c"])
    five_times = clustered_mean([0.0] * 5 + [1.0] * 10, list("aaaaabbbbbccccc"))
    assert five_times.stderr == pytest.approx(once.stderr)
    assert five_times.people == 3


def test_closed_form_with_unequal_people():
    # mean 0.6; residual sums: a (1 + 1 - 1.2) = 0.8, b (0 + 1 + 0 - 1.8) = -0.8; G / (G - 1) = 2
    estimate = clustered_mean([1, 1, 0, 1, 0], list("aabbb"))
    assert estimate.stderr == pytest.approx(math.sqrt(2 * (0.64 + 0.64)) / 5)


def test_one_person_has_no_standard_error_and_nothing_has_no_mean():
    assert clustered_mean([1.0, 0.0], ["a", "a"]).stderr is None
    with pytest.raises(ValueError, match="no scores"):
        clustered_mean([], [])
    with pytest.raises(ValueError, match="2 scores but 1 people"):
        clustered_mean([1.0, 0.0], ["a"])
