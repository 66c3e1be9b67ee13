"""What the official code asked and scored, question for question (how: docs/protocol.md)."""

import hashlib
import json

import pytest
from places import GOLDEN as GOLDEN_FILES

from mllmu_tasks.benchmarks.mllmu.questions import leaf_questions
from mllmu_tasks.benchmarks.mllmu.settings import Settings
from mllmu_tasks.benchmarks.mllmu.spec import VOCABULARY, Leaf, Split
from mllmu_tasks.harness import task
from mllmu_tasks.scorers.base import get, score_answer

GOLDEN = json.loads((GOLDEN_FILES / "official.json").read_text(encoding="utf-8"))
OPTIONS = {
    "": {},
    "ABCD": {"A": "nurse", "B": "pilot", "C": "baker", "D": "judge"},
    "ABCd": {"A": "nurse", "B": "pilot", "C": "baker", "D": None},
}
CASES = [(run, name) for run in GOLDEN["runs"] for name in run["leaves"]]


@pytest.fixture(params=CASES, ids=[f"{r['processor']}-seed{r['seed']}-{name}" for r, name in CASES])
def asked(request, monkeypatch):
    """(what the official code asked in a leaf of a run, our questions of that leaf)."""
    run, name = request.param
    monkeypatch.setenv("MLLMU_DATA", "mini")
    monkeypatch.setenv("MLLMU_SEED", str(run["seed"]))
    monkeypatch.setenv("MLLMU_SHOTS", run["shots"])
    return run["leaves"][name], leaf_questions(Leaf.parse(name), Settings.from_environment())


def test_same_people_prompts_images_and_golds_in_the_same_order(asked):
    official, questions = asked
    assert len(questions.rows) == official["questions"]
    if questions.leaf.split is Split.REAL:
        assert questions.shots == ()  # celebrities were drawn, but Full_Set does not know them
    else:
        assert sorted(questions.shots) == sorted(official["drawn"])
    lines = [json.dumps([task.to_text(d), *map(_pixels, task.to_visual(d)), d["gold"]]) for d in questions.rows]
    assert hashlib.sha256("\n".join(lines).encode()).hexdigest()[:32] == official["asked"]


def _pixels(image) -> str:
    return hashlib.sha256(f"{image.size}{image.mode}".encode() + image.tobytes()).hexdigest()[:16]


@pytest.mark.parametrize("case", GOLDEN["scored"], ids=lambda case: f"{case['task']}-{case['raw'][:12]!r}")
def test_answers_are_read_and_scored_as_officially(case):
    scorer = get(VOCABULARY.task(case["task"]).scorer)
    scored = score_answer(scorer, case["raw"], case["gold"], OPTIONS[case["options"]])
    assert scored["prediction"] == (case["official_answer"] or "")
    assert {name: scored[name] for name in case["scores"]} == pytest.approx(case["scores"], abs=1e-12)
