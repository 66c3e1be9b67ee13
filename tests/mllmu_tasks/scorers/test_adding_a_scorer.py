"""What docs/adding-a-scorer.md says, done to the letter."""

import json
import re
import shlex

import pytest
from places import DOCS
from typer.testing import CliRunner

from mllmu_tasks.errors import UserError
from mllmu_tasks.results import joined
from mllmu_unlearn.cli.main import app

DOC = DOCS / "adding-a-scorer.md"
LEAF, OTHER = "mllmu_forget_generation_text", "mllmu_forget_cloze_text"
DATE = "20260101_120000"
SAID = {"001": ["I don't know.", "She is a nurse. ASSISTANT: I do not know"], "002": ["", "I cannot say that."]}


def block(language: str) -> str:
    return re.search(rf"```{language}\n(.*?)```", DOC.read_text(encoding="utf-8"), re.DOTALL)[1]


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """The folder of a newcomer: the page's file, and results in results/npo."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "refusals.py").write_text(block("python"))
    place = tmp_path / "results" / "npo" / "model"
    place.mkdir(parents=True)
    content = {"results": {LEAF: {}, OTHER: {}}, "config": {"model": "mllmu_hf", "model_args": "pretrained=npo"}}
    (place / f"{DATE}_results.json").write_text(json.dumps(content))
    for leaf, metric in {LEAF: "mllmu_rougeL", OTHER: "mllmu_cloze"}.items():
        rows = [
            {
                "score": 0.5,
                metric: 0.5,
                "person": person,
                "question_index": index,
                "gold": "a nurse",
                "question": "What?",
            }
            | {"filtered_resps": [answer], "prediction": answer, "answered": float(bool(answer)), "parsed": 1.0}
            for person, answers in SAID.items()
            for index, answer in enumerate(answers)
        ]
        (place / f"{DATE}_samples_{leaf}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return place


def mllmu(*arguments: str):
    return CliRunner().invoke(app, arguments, catch_exceptions=False)


def test_the_page_does_what_it_says(folder):
    (command,) = block("bash").splitlines()
    outcome = mllmu(*shlex.split(command)[1:])
    assert outcome.exit_code == 0
    assert outcome.output.startswith("4 answers scored; written to ")
    rows = joined.read(folder / f"{DATE}_results.json")
    assert {(row.leaf, row.person, row.question_index): row.values["refusal_rate"] for row in rows} == {
        **{(LEAF, "001", 0): 1, (LEAF, "001", 1): 0, (LEAF, "002", 0): 0, (LEAF, "002", 1): 1},
    }
    assert [row.metrics[0].wants_low(role) for row in rows[:1] for role in ("forget", "retain")] == [False, True]


def test_the_page_keeps_its_promise_of_size():
    assert len(block("python").splitlines()) <= 40


@pytest.mark.parametrize(
    ("scorer", "sentence"),
    [
        ("factuality", "`mllmu judge` is the command of factuality"),
        ("rouge", "scores answers inside lmms-eval"),
        ("refusal", "there is no scorer 'refusal'"),
        ("choices.py:REFUSALS", "hold no answers that 'choice' scored"),
    ],
)
def test_what_cannot_be_scored_is_said(folder, tmp_path, scorer, sentence):
    (tmp_path / "choices.py").write_text(block("python").replace('rescores="rouge"', 'rescores="choice"'))
    with pytest.raises(UserError, match=sentence):
        mllmu("score", "results/npo", "--scorer", scorer)
    assert not list(folder.glob("*_columns_*"))


def test_pinned_baselines_stay_as_they_are(folder):
    (folder / "baseline.json").write_text("{}")
    with pytest.raises(UserError, match="is a pinned baseline and stays as it is"):
        mllmu("score", "results/npo", "--scorer", "refusals.py:REFUSALS")
