"""The shipped vanilla model, asked as the official code asks, answers and scores as there; a seed fixes everything."""

import json
from pathlib import Path

import pytest
from command_lines import Outcome, lmms_eval
from places import GOLDEN

from mllmu_tasks.benchmarks.mini import checkpoint

RUNS = json.loads((GOLDEN / "official.json").read_text(encoding="utf-8"))["runs"]
OFFICIAL = {
    run["seed"]: {name: leaf for name, leaf in run["leaves"].items() if "answers" in leaf}
    for run in RUNS
    if run["processor"] == "llava" and run["ratio"] == 15
}


def ask(folder: Path, seed: int) -> Outcome:
    """Forget and test in batches of 16, with no answer of another run at hand."""
    return lmms_eval(
        folder,
        *("--model", "mllmu_hf", "--model_args", f"pretrained={checkpoint('vanilla')},prompt_style=official"),
        *("--tasks", "mllmu_forget_15,mllmu_test_15", "--batch_size", "16"),
        MLLMU_DATA="mini",
        MLLMU_SEED=str(seed),
        MLLMU_CACHE=str(folder / "cache"),
    )


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    return {seed: ask(tmp_path_factory.mktemp(f"seed{seed}"), seed) for seed in OFFICIAL}


def test_answers_are_the_official_ones(runs):
    differ, asked = [], 0
    for seed, leaves in OFFICIAL.items():
        for name, official in leaves.items():
            ours = [sample["prediction"] for sample in runs[seed].samples(name)]
            assert len(ours) == official["questions"]
            pairs = zip(ours, official["answers"], strict=True)
            asked += len(ours)
            differ += [(seed, name, *pair) for pair in pairs if pair[0] != pair[1]]
    assert len(differ) <= 0.005 * asked, differ  # another processor's rounding may turn an answer


@pytest.mark.parametrize("seed", OFFICIAL)
def test_scores_are_the_official_ones(runs, seed):
    results = runs[seed].results["results"]
    for name, official in OFFICIAL[seed].items():
        for metric, value in official["scores"].items():
            one_answer = 1 / official["questions"]
            assert results[name][f"{metric},none"] == pytest.approx(value, abs=0.005 + one_answer), (name, metric)


def test_the_same_seed_gives_the_same_files(runs, tmp_path):
    again = ask(tmp_path, 0)
    for name in OFFICIAL[0]:
        assert again.samples(name) == runs[0].samples(name)
    facts = [{name: facts_of(run, name) for name in OFFICIAL[0]} for run in (again, runs[0])]
    assert facts[0] == facts[1]


def test_two_seeds_show_different_people_and_say_so(runs):
    for name, official in OFFICIAL[0].items():
        first, second = (facts_of(runs[seed], name) for seed in (0, 1))
        assert (first["seed"], second["seed"]) == (0, 1)
        if official["drawn"]:
            assert first["shot_people"] != second["shot_people"]
            assert sorted(first["shot_people"]) == sorted(official["drawn"])
    pictures = [[s["input"] for s in runs[seed].samples("mllmu_forget_15_cloze_text")] for seed in (0, 1)]
    assert pictures[0] != pictures[1]


def facts_of(run: Outcome, name: str) -> dict:
    return json.loads(run.results["results"][name]["mllmu_facts,none"])
