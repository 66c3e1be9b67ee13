"""Scorers by name, by file and by entry point; what a scorer from outside may be called and return."""

import math
import sys
from importlib.metadata import EntryPoint
from itertools import permutations

import pytest

from mllmu_tasks.errors import UserError
from mllmu_tasks.scorers import base
from mllmu_tasks.scorers.base import SCORERS, Needs, Scorer, get, score_answer, scorer_of
from mllmu_tasks.scorers.metrics import FACTS, Metric, read_metrics

MINE = """
from mllmu_tasks.scorers.base import Scorer
from mllmu_tasks.scorers.metrics import Metric

MINE = Scorer("{name}", ({metrics}), lambda answer, gold, options: {found}, **{more})
"""


@pytest.fixture
def written(tmp_path):
    """written(**what differs from a sound scorer) -> `path.py:MINE`."""

    def write(name="words", metrics='Metric("words_said"),', found='{"words_said": 0.5}', more="{}"):
        file = tmp_path / f"mine_{len(list(tmp_path.iterdir()))}.py"
        file.write_text(MINE.format(name=name, metrics=metrics, found=found, more=more))
        return f"{file}:MINE"

    return write


def test_no_name_of_a_metric_is_part_of_another():
    names = [metric.name for name in SCORERS for metric in get(name).metrics] + list(FACTS)
    assert len(names) > 8
    assert not [pair for pair in permutations(names, 2) if pair[0] in pair[1]]


def test_every_scorer_is_called_as_its_line_in_the_registry_says():
    assert [get(name).name for name in SCORERS] == list(SCORERS)


def test_a_metric_is_described_with_direction_bounds_and_cluster():
    assert get("cloze").describe() == {
        "mllmu_cloze": {
            **{"better_on_forget": "low", "better_on_retain": "high", "low": 0.0, "high": 1.0, "cluster": "person"},
        }
    }
    assert get("factuality").describe()["mllmu_factuality"]["high"] == 10
    for name in SCORERS:
        assert read_metrics(get(name).describe()) == get(name).metrics
    assert [get("cloze").metrics[0].wants_low(role) for role in ("forget", "retain", "other")] == [True, False, None]


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"better_on_forget": "lower"}, "better is low or high"),
        ({"low": 3}, "no value lies between 3.0 and 1.0"),
        ({"high": "1"}, "'high' is"),
        ({"cluster": None}, "'cluster' is"),
    ],
)
def test_a_description_that_means_nothing_is_refused(change, sentence):
    described = get("cloze").describe()
    described["mllmu_cloze"] |= change
    with pytest.raises(ValueError, match=sentence):
        read_metrics(described)


def test_a_metric_may_have_no_bounds():
    free = Metric("x", low=-math.inf, high=math.inf)
    assert free.holds(-1e9)
    assert not free.holds(float("inf"))
    assert not Metric("x", high=math.inf).holds(-1)
    assert read_metrics({"x": free.describe()}) == (free,)


def test_the_scorer_of_logged_metrics():
    assert scorer_of(["mllmu_cloze", "mllmu_answered", "mllmu_factuality"]).name == "cloze"
    assert scorer_of(["mllmu_rougeL"]) is None  # a part of what rouge writes
    assert scorer_of(["mllmu_cloze", "mllmu_accuracy"]) is None
    assert scorer_of(["mllmu_factuality"]) is None  # of no answer's text alone


def test_a_file_brings_a_scorer(written):
    scorer = get(written())
    assert score_answer(scorer, " A word. ", "gold", {}) == {
        **{"score": 0.5, "words_said": 0.5, "mllmu_answered": 1.0},
        **{"prediction": "A word.", "answered": 1.0, "parsed": 1.0},
    }


@pytest.mark.parametrize(
    ("broken", "sentence"),
    [
        ({"name": "rouge"}, "a scorer of mllmu already"),
        ({"metrics": ""}, "declares no metric"),
        ({"metrics": 'Metric("a b"),'}, "'a b' is no name"),
        ({"name": "../x"}, "'../x' is no name"),
        ({"metrics": 'Metric("score"),'}, "as a column of every sample"),
        ({"metrics": 'Metric("mllmu_rouge"),'}, "'mllmu_rouge' and 'mllmu_rougeL' hold one another"),
        ({"metrics": 'Metric("my_mllmu_cloze"),'}, "hold one another"),
        ({"metrics": 'Metric("min_k"), Metric("min_k_plus"),'}, "'min_k_plus' and 'min_k' hold one another"),
        ({"metrics": 'Metric("x", low=1, high=0),'}, "low is first"),
        ({"more": '{"needs": "logged"}'}, "has a function `score`, and no other has"),
    ],
)
def test_a_scorer_that_cannot_be_used_is_refused_when_it_is_opened(written, broken, sentence):
    with pytest.raises(UserError, match=sentence):
        get(written(**broken))


@pytest.mark.parametrize(
    ("found", "sentence"),
    [
        ("{'words_said': 2.0}", "gave '2.0' for words_said, no number within its bounds"),
        ("{'words_said': float('nan')}", "no number within its bounds"),
        ("{'words_said': True}", "no number within its bounds"),
        ("{}", "declares words_said"),
        ("{'words_said': 1, 'more': 1}", "returned 'words_said, more', and declares words_said"),
    ],
)
def test_a_scorer_that_breaks_its_declaration_is_told(written, found, sentence):
    with pytest.raises(UserError, match=sentence):
        score_answer(get(written(found=found)), "a", "b", {})


@pytest.mark.parametrize(
    ("name", "sentence"),
    [
        ("roug", "there is no scorer 'roug'. Did you mean 'rouge'?"),
        ("absent.py:X", "does not exist"),
        ("absent.py", "Write absent.py:NAME"),
    ],
)
def test_what_is_not_there_is_said(name, sentence):
    with pytest.raises(UserError) as refusal:
        get(name)
    assert sentence in str(refusal.value)


def test_a_file_without_the_scorer_is_told(written, tmp_path):
    place = written()
    with pytest.raises(UserError, match="Did you mean 'MINE'"):
        get(place.replace(":MINE", ":MIEN"))
    (tmp_path / "broken.py").write_text("1 / 0\n")
    with pytest.raises(UserError, match="does not load: ZeroDivisionError"):
        get(f"{tmp_path / 'broken.py'}:X")
    (tmp_path / "empty.py").write_text("")
    with pytest.raises(UserError, match="holds no mllmu_tasks"):
        get(f"{tmp_path / 'empty.py'}:X")


def test_a_package_brings_a_scorer_by_an_entry_point(written, tmp_path, monkeypatch):
    written()
    (tmp_path / "mine_0.py").rename(tmp_path / "words_package.py")
    monkeypatch.syspath_prepend(str(tmp_path))
    values = {"words": "words_package:MINE", "other": "words_package:MINE", "gone": "no_such:X", "path": "pathlib:Path"}
    entries = [EntryPoint(name, value, base.GROUP) for name, value in values.items()]
    monkeypatch.setattr(base, "entry_points", lambda group: entries if group == base.GROUP else [])
    base._installed.cache_clear()
    try:
        assert {"words", "rouge"} <= set(base.names())
        assert "words_package" not in sys.modules  # listing imports nothing
        assert get("words").metrics == (Metric("words_said"),)
        for name, sentence in {"other": "must be equal", "gone": "cannot be imported", "path": "is no mllmu_"}.items():
            with pytest.raises(UserError, match=sentence):
                get(name)
    finally:
        base._installed.cache_clear()
        sys.modules.pop("words_package", None)


def test_logged_scorers_have_no_function():
    assert (get("factuality").needs, get("factuality").score) == (Needs.LOGGED, None)
    assert isinstance(get("factuality"), Scorer)
    with pytest.raises(UserError, match="cannot score a text by itself"):
        score_answer(get("factuality"), "a", "b", {})
