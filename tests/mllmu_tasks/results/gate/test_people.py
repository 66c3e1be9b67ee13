"""The people asked are the people forgotten."""

import itertools

import pytest

from mllmu_tasks.results.gate.evaluation import open_side
from mllmu_tasks.results.gate.identity import identity_of
from mllmu_tasks.results.gate.people import problems

FORGET, RETAIN = "mllmu_forget_cloze_text", "mllmu_retain_cloze_text"


@pytest.fixture
def asked(write_judged):
    """asked(forgot, declared, leaf=people) -> what is wrong with whom was asked; a letter is a person."""

    number = itertools.count()

    def found(forgot, declared=(), change=None, **people):
        leaves = {f"mllmu_{split}_cloze_text": {person: [0] for person in who} for split, who in people.items()}
        side = open_side("results", [write_judged(f"run {next(number)}", leaves, forgot=forgot, change=change)], 0.95)
        return problems(side, identity_of(side)[0], declared)

    return found


def test_the_same_people_are_no_problem(asked):
    assert asked("ab", forget="ab", retain="yz", real="q") == []


def test_others_in_the_forget_leaves_hide_everything(asked):
    (problem,) = asked("ab", forget="abcdefgh")
    assert problem.hides
    assert problem.leaf == FORGET
    assert problem.text.startswith("asks about c, d, e, f, g and 1 more, whom the model did not forget; evaluate it")


def test_a_part_of_the_forgotten_is_not_held_but_may_be_broken(asked):
    (problem,) = asked("abc", forget="ab")
    assert "asks nothing about c" in problem.text
    assert not problem.hides


def test_who_is_shown_or_left_out_was_asked_about(asked):
    assert asked("abc", forget="ab", change=lambda leaf, facts, config: facts.update(whom=["a", "b", "c"])) == []


def test_forgotten_people_among_the_kept(asked):
    found = asked(["a", "kept b"], forget="a", retain="bz", real="b")
    kept = [problem for problem in found if "asks about kept b, whom the model forgot" in problem.text]
    assert [(problem.leaf, problem.hides) for problem in kept] == [(RETAIN, True)]  # ids of celebrities are their own


def test_without_a_record_the_caller_says_whom(asked):
    def bare(leaf, facts, config):
        facts["answered_by"]["forgot"] = None

    (problem,) = asked("", change=bare, forget="ab")
    assert "declare 'people' in the policy" in problem.text
    assert not problem.hides
    assert asked("", ["a", "b"], change=bare, forget="ab") == []
    (problem,) = asked("", ["a"], change=bare, forget="ab")
    assert "asks about b, whom the model did not forget" in problem.text


def test_a_model_that_forgot_nobody_is_not_held(asked):
    (problem,) = asked("", forget="ab")
    assert "forgot nobody" in problem.text
    assert not problem.hides
