"""Runs that differ in what they ask are not put into one table unless told to."""

import pytest
from typer.testing import CliRunner

from mllmu_tasks.errors import UserError
from mllmu_tasks.results.runs import load_runs
from mllmu_tasks.results.tables.comparable import differences, row_names
from mllmu_unlearn.cli.main import app

FORGET, REAL = "mllmu_forget_cloze_image", "mllmu_real_generation_text"
SCORES = {FORGET: {"1": [1.0, 0.0], "2": [1.0, 1.0]}, REAL: {"c1": [0.25], "c2": [0.75]}}
OURS = {"config": {"model": "mllmu_hf"}, "model_args": "pretrained=/m/a"}


@pytest.fixture
def run(write_run):
    return load_runs([write_run("first", SCORES, **OURS)])[0]


@pytest.mark.parametrize(
    ("changed", "sentence"),
    [
        ({"facts": {"seed": 1}}, "seed: a has 0, b has 1"),
        ({"facts": {"data_hash": "d2"}}, "data_hash: a has d1, b has d2"),
        ({"facts": {"shots": [0, 0]}}, "shots: a has [1, 2], b has [0, 0]"),
        ({"facts": {"shot_questions": 2}}, "shot_questions: a has None, b has 2"),
        ({"config": {"model": "mllmu_hf", "limit": 8}}, "limit: a has None, b has 8"),
        ({"model_args": "pretrained=/m/b,prompt_style=official"}, "prompt_style: a has chat, b has official"),
        ({"config": {"model": "qwen2_5_vl"}}, "prompt_style: a has chat, b has of qwen2_5_vl"),
        (
            {"config": {"model": "mllmu_peft"}, "model_args": "backend=llava_hf,pretrained=/m/b,peft=/a/b"},
            "prompt_style: a has chat, b has of llava_hf",
        ),
    ],
)
def test_every_difference_is_named_once(write_run, run, changed, sentence):
    (other,) = load_runs([write_run("other", SCORES, **{**OURS, "model_args": "pretrained=/m/b", **changed})])
    assert differences([run, run]) == []
    assert differences([run, other]) == [sentence]


def test_forget_sets_of_two_ratios_are_different_people(write_run, run):
    (ten,) = load_runs([write_run("ten", {"mllmu_forget_10_cloze_image": {"1": [1.0]}}, **OURS)])
    assert differences([run, ten]) == ["forget ratio: 5 %, 10 % are different people"]


def test_any_two_runs_of_a_leaf_are_compared(write_run):
    """The first run may hold neither of the leaves in which the others differ."""
    runs = load_runs(
        [
            write_run("zero", {REAL: SCORES[REAL]}),
            write_run("one", {FORGET: SCORES[FORGET]}, model_args="answers=gold"),
            write_run("two", {FORGET: SCORES[FORGET]}, facts={"seed": 7}),
        ]
    )
    assert any("seed" in sentence for sentence in differences(runs))


def test_parts_of_one_model_share_a_row_and_repeats_do_not(write_run):
    parts = load_runs([write_run("p1", {FORGET: SCORES[FORGET]}), write_run("p2", {REAL: SCORES[REAL]})])
    assert row_names(parts) == ["gold", "gold"]
    repeats = load_runs([write_run("r1", SCORES), write_run("r2", SCORES)])
    assert len(set(row_names(repeats))) == 2
    assert all(name.startswith("gold 20260101_120000") for name in row_names(repeats))


def test_the_command_refuses_and_shows_when_told_to(write_run):
    folders = [str(write_run("a", SCORES)), str(write_run("b", SCORES, facts={"seed": 5}, model_args="answers=file"))]
    refused = CliRunner().invoke(app, ["results", *folders])
    assert isinstance(refused.exception, UserError)
    assert "seed: gold has 0, file has 5" in str(refused.exception)
    shown = CliRunner().invoke(app, ["results", *folders, "--allow-differences"])
    assert shown.exit_code == 0
    assert "not the same in all runs: seed: gold has 0, file has 5" in shown.stderr
