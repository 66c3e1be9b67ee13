"""The functions that the task YAMLs name, where lmms-eval's own behaviour is what counts."""

import json
from types import SimpleNamespace

import pytest
from lmms_eval.utils import handle_non_serializable, make_table

from mllmu_tasks.harness.task import facts, leaf_docs, mean_by_person, score, to_messages, to_text
from mllmu_tasks.scorers.base import SCORING


def test_facts_reach_the_results_file_and_stay_out_of_the_printed_table(monkeypatch):
    monkeypatch.setenv("MLLMU_DATA", "mini")
    recorded = facts(["mllmu_real_cloze_text"])
    values = {"alias": "leaf", "mllmu_cloze,none": 0.5, "mllmu_facts,none": recorded}
    written = json.loads(json.dumps(values, default=handle_non_serializable))
    assert json.loads(written["mllmu_facts,none"])["data"] == "mini"
    table = make_table({"results": {"leaf": values}, "n-shot": {}, "higher_is_better": {}})
    assert "mllmu_cloze" in table
    assert "mllmu_facts" not in table


@pytest.mark.parametrize("place", ["leaf_questions", "unanswered.note", "prompts.official", "prompts.messages"])
def test_a_mistake_of_ours_anywhere_in_a_task_ends_the_run(monkeypatch, capsys, place):
    def broken(*_, **__):
        raise OSError("no such place")

    monkeypatch.setattr(f"mllmu_tasks.harness.task.{place}", broken)
    doc = {"person": "001", "leaf": "mllmu_real_cloze_text", "task": "cloze", "modality": "text", "shots": "[]"}
    doc |= {"options": "", "question_index": 0, "slot": 0, "question": "Who?", "gold": "her"}
    called = {
        "leaf_questions": lambda: leaf_docs(SimpleNamespace(split="mllmu_real_cloze_text")),
        "unanswered.note": lambda: mean_by_person([{"leaf": doc["leaf"], "answered": 1, "score": 1.0}]),
        "prompts.official": lambda: to_text(doc),
        "prompts.messages": lambda: to_messages(doc),
    }
    with pytest.raises(SystemExit) as ended:
        called[place]()
    assert ended.value.code == 2
    assert "OSError: no such place. This was not foreseen" in capsys.readouterr().err


def test_facts_say_whom_the_forget_set_names_and_how_it_is_asked_and_scored(monkeypatch):
    monkeypatch.setenv("MLLMU_DATA", "mini")
    forget, retain = (json.loads(str(facts([f"mllmu_{split}_15_cloze_text"]))) for split in ("forget", "retain"))
    assert len(forget["whom"]) == 9
    assert set(forget["shot_people"]) < set(forget["whom"])
    assert retain["whom"] is None
    assert forget["scoring"] == retain["scoring"] == SCORING
    assert forget["whole_data"] == retain["whole_data"]
    assert forget["configuration"] != retain["configuration"]
    assert forget["generation"]["max_new_tokens"] == 50


def test_a_sample_logs_what_its_score_follows_from():
    doc = {"person": "1", "split": "real", "ratio": None, "task": "classification", "modality": "text"}
    doc |= {"question_index": 0, "question": "?", "gold": "A", "options": '{"A": "x"}', "leaf": "l"}
    assert score(doc, ["A"])["options"] == '{"A": "x"}'
