"""Answers that are known beforehand."""

import json

import pytest
from asking import SPLIT, TASK, ask, document

from mllmu_tasks.harness.replay import MllmuReplay

DOCS = [document(n, "?") for n in range(3)]


def refusal(capsys, action) -> str:
    with pytest.raises(SystemExit) as left:
        action()
    assert left.value.code == 2
    return capsys.readouterr().err.strip().splitlines()[-1]


def write_samples(folder, task, rows, name="20260101_000000"):
    folder.mkdir(parents=True, exist_ok=True)
    lines = [json.dumps({"person": p, "question_index": n, "filtered_resps": text}) for p, n, text in rows]
    (folder / f"{name}_samples_{task}.jsonl").write_text("\n".join(lines))


def test_gold_is_read_from_the_documents():
    assert ask(MllmuReplay(answers="gold"), DOCS) == ["gold 0", "gold 1", "gold 2"]


def test_gold_of_a_foreign_task(capsys):
    model = MllmuReplay(answers="gold")
    line = refusal(capsys, lambda: ask(model, [{"images": 0, "shots": 0, "question": "?", "person": None}]))
    assert f"{TASK}, document 0: answers=gold knows the MLLMU tasks only" in line


@pytest.mark.parametrize(
    ("answers", "text"),
    [
        ("constant:I do not know.", "I do not know."),
        ("constant:", ""),
        ("constant:''", ""),
        ("constant:'a:b'", "a:b"),
        ('"constant:quoted"', "quoted"),
        ("constant:''two''", "'two'"),
        ("constant:it's", "it's"),
    ],
)
def test_constant(answers, text):
    assert ask(MllmuReplay(answers=answers), DOCS) == [text] * 3


def test_a_logged_run_by_leaf_person_and_question(tmp_path):
    leaf = "mllmu_forget_cloze_text"
    rows = [("001", 1, "one"), ("002", 2, "two"), ("000", 0, "")]
    write_samples(tmp_path / "model", leaf, rows)
    write_samples(tmp_path / "model", "mllmu_test_cloze_text", [("001", 1, "elsewhere")])
    model = MllmuReplay(answers=f"file:{tmp_path}")
    model.task_dict = {leaf: {SPLIT: DOCS}}
    assert [model._answer(n, leaf, SPLIT) for n in range(3)] == ["", "one", "two"]


def test_what_is_not_in_the_log_is_named(tmp_path, capsys):
    write_samples(tmp_path, "mllmu_real_cloze_text", [("001", 1, "one")])
    model = MllmuReplay(answers=f"file:'{tmp_path}'")
    line = refusal(capsys, lambda: ask(model, DOCS))
    assert f"{TASK}, person 000, question 0: no logged answer" in line


def test_logs_that_cannot_be_used(tmp_path, capsys):
    assert "holds no samples" in refusal(capsys, lambda: MllmuReplay(answers=f"file:{tmp_path}"))
    write_samples(tmp_path, "mllmu_real_cloze_text", [("001", 1, "one")])
    write_samples(tmp_path, "mllmu_real_cloze_text", [("001", 1, "two")], name="20260202_000000")
    assert "several runs" in refusal(capsys, lambda: MllmuReplay(answers=f"file:{tmp_path}"))
    (tmp_path / "0_samples_mllmu_real_cloze_text.jsonl").write_text('{"no": "answer"}')
    assert "line 1 is no sample" in refusal(capsys, lambda: MllmuReplay(answers=f"file:{tmp_path}"))


@pytest.mark.parametrize("answers", ["", "gold:x", "golden", "constant", "file", "file:"])
def test_arguments_that_cannot_be(capsys, answers):
    assert "needs answers=gold, " in refusal(capsys, lambda: MllmuReplay(answers=answers))


def test_unknown_argument(capsys):
    assert "Did you mean 'answers'?" in refusal(capsys, lambda: MllmuReplay(answer="gold"))


def test_other_requests(capsys):
    model = MllmuReplay(answers="gold")
    assert "log-likelihoods" in refusal(capsys, lambda: model.loglikelihood([]))
    assert "multi-round" in refusal(capsys, lambda: model.generate_until_multi_round([]))


def test_an_answer_with_line_separators_is_replayed(tmp_path):
    leaf, said = "mllmu_forget_cloze_text", "a\u2028b\x85c"
    row = {"person": "000", "question_index": 0, "filtered_resps": [said]}
    (tmp_path / f"1_samples_{leaf}.jsonl").write_text(json.dumps(row, ensure_ascii=False) + "\n", encoding="utf-8")
    model = MllmuReplay(answers=f"file:{tmp_path}")
    model.task_dict = {leaf: {SPLIT: DOCS}}
    assert model._answer(0, leaf, SPLIT) == said


def test_what_lmms_eval_could_not_write_is_refused_before_it_runs(capsys):
    assert "no UTF-8" in refusal(capsys, lambda: MllmuReplay(answers="constant:a\udcffb"))
    assert ask(MllmuReplay(answers="constant:é 中"), DOCS) == ["é 中"] * 3
