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


@pytest.mark.parametrize("place", ["registry.leaf_of", "unanswered.note", "_question"])
@pytest.mark.parametrize("rendering", ["text", "messages"])
def test_a_mistake_of_ours_anywhere_in_a_task_ends_the_run(monkeypatch, capsys, place, rendering):
    def broken(*_, **__):
        raise OSError("no such place")

    monkeypatch.setattr(f"mllmu_tasks.harness.task.{place}", broken)
    doc = {"person": "001", "leaf": "mllmu_real_cloze_text", "task": "cloze", "modality": "text", "shots": "[]"}
    doc |= {"benchmark": "mllmu", "options": "", "question_index": 0, "slot": 0, "question": "Who?", "gold": "her"}
    called = {
        "registry.leaf_of": lambda: leaf_docs(SimpleNamespace(split="mllmu_real_cloze_text")),
        "unanswered.note": lambda: mean_by_person([{"leaf": doc["leaf"], "answered": 1, "score": 1.0}]),
        "_question": lambda: to_text(doc) if rendering == "text" else to_messages(doc),
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


def test_facts_say_where_a_leaf_belongs_and_what_its_metrics_mean(monkeypatch):
    monkeypatch.setenv("MLLMU_DATA", "mini")
    known = json.loads(str(facts(["mllmu_test_15_generation_text"])))
    columns = {"benchmark": "mllmu", "split": "test", "role": "forget", "ratio": 15}
    assert {**columns, "task": "generation", "modality": "text"}.items() <= known.items()
    assert next(iter(known["metrics"])) == "mllmu_rougeL"
    assert known["metrics"]["mllmu_rougeL"] == {
        "better_on_forget": "low",
        "better_on_retain": "high",
        "low": 0,
        "high": 1,
        "cluster": "person",
    }


def test_a_sample_logs_what_its_score_follows_from():
    doc = {
        "benchmark": "mllmu",
        "role": "retain",
        "person": "1",
        "split": "real",
        "ratio": None,
        "task": "classification",
        "modality": "text",
    }
    doc |= {"question_index": 0, "question": "?", "gold": "A", "options": '{"A": "x"}', "leaf": "l"}
    sample = score(doc, ["A"])
    assert sample["options"] == '{"A": "x"}'
    assert sample["mllmu_accuracy"] == 1
    assert {**doc, **sample} | {"leaf": "l"} == sample | {"leaf": "l"}, "every coordinate is a column"
