import pytest

from mllmu_tasks.benchmarks.mllmu.spec import Leaf
from mllmu_tasks.harness import task, unanswered

ANSWERED = {
    "mllmu_forget_classification_image": 0,
    "mllmu_forget_classification_text": 0,
    "mllmu_forget_generation_image": 0,
    "mllmu_forget_generation_text": 0,
}


def seen(**silent):
    return {Leaf.parse(name): (silent.get(name, few), 10) for name, few in ANSWERED.items()}


def test_all_answered_is_silence():
    assert unanswered.warning(seen()) == ""
    assert unanswered.warning({}) == ""


@pytest.mark.parametrize(
    ("silent", "cause"),
    [
        (("classification_text", "generation_text"), "questions without an image"),
        (("classification_image", "generation_image"), "questions with images"),
        (("classification_image", "classification_text"), "MLLMU_SHOTS=0"),
        (("classification_image", "classification_text", "generation_image", "generation_text"), "every generation"),
        (("generation_image",), "the model ended its answer at once"),
    ],
)
def test_the_pattern_names_the_cause(silent, cause):
    words = unanswered.warning(seen(**{f"mllmu_forget_{name}": 10 for name in silent}))
    assert f"mllmu: {10 * len(silent)} of 40 questions not answered" in words
    assert f"mllmu_forget_{silent[0]} 10 of 10" in words
    assert cause in words.splitlines()[-1]


def test_a_few_here_and_there_are_the_models_own():
    words = unanswered.warning(seen(mllmu_forget_classification_text=3))
    assert "3 of 40" in words
    assert "the model ended its answer at once, or generation failed" in words


def test_a_model_that_hides_no_failure_said_nothing_by_itself():
    words = unanswered.warning(seen(mllmu_forget_classification_text=10), "mllmu_hf")
    assert "10 of 40" in words
    assert "the model ended its answer at once (mllmu_hf ends the run on any failure)" in words.splitlines()[-1]


def test_the_tasks_aggregation_counts_each_leaf_once(monkeypatch):
    monkeypatch.setattr(unanswered, "_SEEN", {})
    monkeypatch.setattr(unanswered.atexit, "register", lambda function: None)
    items = [{"score": 0.0, "person": str(n), "answered": n % 2, "leaf": "mllmu_real_cloze_text"} for n in range(4)]
    task.mean_by_person(items)
    task.mean_by_person(items)
    assert {Leaf.parse("mllmu_real_cloze_text"): (2, 4)} == unanswered._SEEN


def test_each_run_of_a_process_has_its_own_words(monkeypatch, capsys):
    monkeypatch.setattr(unanswered, "_SEEN", {})  # other tests of this process may have noted theirs
    monkeypatch.setattr(unanswered.atexit, "register", lambda function: None)
    leaf = Leaf.parse("mllmu_real_cloze_text")
    for silent in (5, 0):
        unanswered.note(leaf, silent, 10)
        unanswered.say()
    assert capsys.readouterr().err.count("5 of 10 questions not answered") == 1
    assert not unanswered._SEEN
