"""The functions that the task YAMLs name, where lmms-eval's own behaviour is what counts."""

import json

from lmms_eval.utils import handle_non_serializable, make_table

from mllmu_tasks.task import facts


def test_facts_reach_the_results_file_and_stay_out_of_the_printed_table(monkeypatch):
    monkeypatch.setenv("MLLMU_DATA", "mini")
    recorded = facts(["mllmu_real_cloze_text"])
    values = {"alias": "leaf", "mllmu_cloze,none": 0.5, "mllmu_facts,none": recorded}
    written = json.loads(json.dumps(values, default=handle_non_serializable))
    assert json.loads(written["mllmu_facts,none"])["data"] == "mini"
    table = make_table({"results": {"leaf": values}, "n-shot": {}, "higher_is_better": {}})
    assert "mllmu_cloze" in table
    assert "mllmu_facts" not in table
