"""With --use_cache nobody is served answers of other weights, other examples or other pictures."""

import contextlib
import json
import sqlite3

import pytest
from adapters import make_adapter
from lmms_eval import evaluator
from lmms_eval.caching.response_cache import ResponseCache
from lmms_eval.tasks import TaskManager

from mllmu_tasks.errors import UserError
from mllmu_tasks.harness import answerer, response_cache
from mllmu_tasks.plugin import task_folder

LEAF = "mllmu_test_15_classification_image"


@pytest.fixture(scope="module")
def tasks():
    return TaskManager(include_path=str(task_folder()), include_defaults=False)


@pytest.fixture
def evaluate(tasks, tmp_path, monkeypatch):
    """evaluate(model, model_args, ...) -> (answers, how many of them came from the cache) of a real run."""
    monkeypatch.setenv("MLLMU_DATA", "mini")
    monkeypatch.setenv("MLLMU_SHOTS", "0")
    hits = []
    original = ResponseCache.finalize

    def finalize(self, **kwargs):
        hits.append(self.get_stats()["hits"])
        original(self, **kwargs)

    monkeypatch.setattr(ResponseCache, "finalize", finalize)

    def run(model, model_args, *, leaf="mllmu_forget_15_generation_text", limit=4):
        found = evaluator.simple_evaluate(
            model=model,
            model_args=model_args,
            tasks=[leaf],
            task_manager=tasks,
            batch_size=4,
            device="cpu",
            limit=limit,
            use_cache=str(tmp_path / "cache-of-answers"),
            log_samples=True,
        )
        answers = [sample["filtered_resps"][0] for sample in found["samples"][leaf]]
        return answers, hits[-1]

    return run


def test_an_adapter_trained_again_in_its_folder_answers_anew(evaluate, folders, tmp_path):
    base = folders("qwen2_5_vl")
    folder = make_adapter(base, tmp_path / "adapter", "lora")
    arguments = f"pretrained={base},peft={folder}"
    first, hits = evaluate("mllmu_hf", arguments)
    assert hits == 0
    assert evaluate("mllmu_hf", arguments) == (first, sum(map(bool, first)))  # empty answers are not kept
    make_adapter(base, folder, "lora", seed=1)
    again, hits = evaluate("mllmu_hf", arguments)
    assert hits == 0
    assert again != first


def test_an_answer_that_was_changed_in_the_cache_is_asked_again(evaluate, tmp_path):
    first, _ = evaluate("mllmu_replay", "answers=gold")
    assert evaluate("mllmu_replay", "answers=gold") == (first, 4)
    assert answerer.noted()["kept"]["cache"]["answers"] == 4
    with contextlib.closing(sqlite3.connect(tmp_path / "cache-of-answers" / "cache.db")) as cache:
        kept = cache.execute("SELECT cache_key, response FROM responses ORDER BY doc_id").fetchall()
        assert len(kept) == 4
        forged = json.loads(kept[0][1]) | {"answer": ""}
        for key, response in ((kept[0][0], forged), (kept[1][0], "no seal at all")):
            cache.execute("UPDATE responses SET response = ? WHERE cache_key = ?", (json.dumps(response), key))
        cache.commit()
    assert evaluate("mllmu_replay", "answers=gold") == (first, 2)
    assert answerer.noted()["kept"]["cache"]["answers"] == 2


def test_replay_with_other_answers(evaluate):
    assert evaluate("mllmu_replay", "answers=gold")[1] == 0
    assert evaluate("mllmu_replay", "answers=gold")[1] == 4


@pytest.mark.parametrize("change", [("MLLMU_SEED", "3"), ("MLLMU_SHOTS", "1,1"), ("MLLMU_SHOT_QUESTIONS", "2")])
def test_draws_of_pictures_and_examples_belong_to_the_key(evaluate, monkeypatch, change):
    """Zero-shot prompts of two seeds are equal texts: only the test pictures differ."""
    if change[0] == "MLLMU_SHOT_QUESTIONS":
        monkeypatch.setenv("MLLMU_SHOTS", "1,1")
    assert evaluate("mllmu_replay", "answers=gold", leaf=LEAF)[1] == 0
    assert evaluate("mllmu_replay", "answers=gold", leaf=LEAF)[1] == 4
    monkeypatch.setenv(*change)
    assert evaluate("mllmu_replay", "answers=gold", leaf=LEAF)[1] == 0


def test_other_data_belong_to_the_key(evaluate, monkeypatch, tmp_path):
    from data_sets import copy_mini

    monkeypatch.setenv("MLLMU_DATA", str(copy_mini(tmp_path / "copy")))
    assert evaluate("mllmu_replay", "answers=gold")[1] == 0
    monkeypatch.setenv("MLLMU_DATA", "mini")
    assert evaluate("mllmu_replay", "answers=gold")[1] == 4  # the same bytes elsewhere are the same data


def test_stock_backends_are_known_by_the_content_of_what_they_open(folders, tmp_path):
    base = folders("qwen2_5_vl")
    folder = make_adapter(base, tmp_path / "adapter", "lora")
    template = tmp_path / "template.jinja"
    template.write_text("one")

    def key():
        arguments = f"pretrained={base},adapter={folder},chat_template={template},revision=main"
        return response_cache._model_content("qwen2_5_vl", arguments)

    before = key()
    assert key() == before
    template.write_text("two")
    with_other_template = key()
    make_adapter(base, folder, "lora", seed=1)
    assert len({before, with_other_template, key()}) == 3


def test_a_folder_that_cannot_be_told_apart_is_refused(tmp_path):
    with pytest.raises(UserError, match="leave out --use_cache"):
        response_cache.file_content(tmp_path)


def test_a_processor_of_its_own(folders, tmp_path):
    from transformers import AutoProcessor

    AutoProcessor.from_pretrained(folders("qwen2_5_vl")).save_pretrained(tmp_path / "processor")
    before = response_cache.file_content(tmp_path / "processor")
    (tmp_path / "processor" / "chat_template.jinja").write_text("another")
    assert response_cache.file_content(tmp_path / "processor") != before


def test_tasks_of_others_keep_their_key():
    assert response_cache._task_contents({"mmmu_val": "abc"}) == {}
