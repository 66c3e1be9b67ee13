"""A logged score is a claim; the logged answer decides."""

import json

import pytest

from mllmu_tasks.results.gate import rescored
from mllmu_tasks.results.gate.evaluation import open_side

CHOICE = "mllmu_forget_classification_text"
CLOZE = "mllmu_forget_cloze_image"
STORY = "mllmu_test_generation_text"
LEAVES = (CHOICE, CLOZE, STORY)


@pytest.fixture
def folder(write_judged):
    return write_judged("a", {leaf: {"1": [1, 0], "2": [0, 1]} for leaf in LEAVES})


def found(folder):
    return [str(problem) for problem in rescored.problems(open_side("results", [folder], 0.95))]


def edit(folder, leaf, change):
    (file,) = folder.rglob(f"*_samples_{leaf}.jsonl")
    rows = [json.loads(line) for line in file.read_text().splitlines()]
    for row in rows:
        change(row)
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))


def test_honest_scores_follow(folder):
    assert found(folder) == []


@pytest.mark.parametrize("leaf", LEAVES)
def test_scores_set_to_zero_are_found(folder, leaf):
    def forget(row):
        row |= {key: 0.0 for key, value in row.items() if key.startswith("mllmu_") and isinstance(value, float)}
        row["score"] = row["mllmu_by_person"]["score"] = 0.0

    edit(folder, leaf, forget)
    (problem,) = found(folder)
    assert f"{leaf}: 4 of 4 scores do not follow" in problem or f"{leaf}: 2 of 4 scores do not follow" in problem


@pytest.mark.parametrize(
    "change",
    [
        lambda row: row.update(prediction=""),
        lambda row: row.update(filtered_resps=["a", "b"]),
        lambda row: row.update(mllmu_cloze=0.25),
        lambda row: row.update(answered=0.0),
    ],
)
def test_each_column_follows_from_the_answer(folder, change):
    edit(folder, CLOZE, change)
    assert any("4 of 4 scores do not follow" in problem for problem in found(folder))


def test_a_sample_without_its_metric_does_not_follow(folder):
    edit(folder, CLOZE, lambda row: row.pop("mllmu_cloze"))
    assert any("scores do not follow" in problem for problem in found(folder))


@pytest.mark.parametrize(
    "change",
    [
        lambda row: row.pop("mllmu_by_person"),
        lambda row: row.update(mllmu_by_person="x"),
        lambda row: row["mllmu_by_person"].update(person="3"),
        lambda row: row["mllmu_by_person"].update(score=0.5),
        lambda row: row["mllmu_by_person"].update(leaf=STORY),
    ],
)
def test_samples_without_their_part_of_the_mean_are_found(folder, change):
    edit(folder, CLOZE, change)
    assert found(folder) == [f"results: {CLOZE}: 4 of 4 samples lack mllmu_by_person or contradict it"]


def test_a_results_file_without_the_mean_is_found(folder):
    (file,) = folder.rglob("*_results.json")
    data = json.loads(file.read_text())
    del data["results"][CLOZE]["mllmu_by_person,none"]
    file.write_text(json.dumps(data))
    assert found(folder) == [f"results: {CLOZE}: the results file lacks the mean of mllmu_by_person"]


def test_samples_of_an_earlier_version_have_no_options_and_are_still_recomputed(folder):
    edit(folder, CHOICE, lambda row: row.pop("options"))
    assert found(folder) == []
    edit(
        folder, CHOICE, lambda row: row.update(score=0.0, mllmu_accuracy=0.0) or row["mllmu_by_person"].update(score=0)
    )
    assert "2 of 4 scores do not follow" in found(folder)[0]


def test_the_letter_of_a_missing_option_is_wrong_in_both(folder):
    edit(folder, CHOICE, lambda row: row.update(options=json.dumps({"A": "", "B": "x"})))
    assert "2 of 4 scores do not follow" in found(folder)[0]
