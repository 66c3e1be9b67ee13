"""Golden snapshots of every prompt, official and chat; rewrite them with MLLMU_WRITE_GOLDEN=1 and read the diff."""

import json
import os

import pytest
from places import GOLDEN as GOLDEN_FILES

from mllmu_tasks.benchmarks.mllmu.prompts import chat_text, official
from mllmu_tasks.benchmarks.mllmu.questions import leaf_questions
from mllmu_tasks.benchmarks.mllmu.settings import Settings
from mllmu_tasks.benchmarks.mllmu.spec import Leaf, Modality, Split, Task, leaves
from mllmu_tasks.data.people import Question
from mllmu_tasks.harness import task

GOLDEN = GOLDEN_FILES / "prompts.json"


SHOTS = ("1,2", "1,1", "0")
"""LLaVA as in the paper and the default, Idefics2 as in the paper, zero-shot."""


@pytest.fixture(scope="module")
def rendered():
    """{MLLMU_SHOTS: {leaf: its first question in both styles}}, for every leaf of the 15 % benchmark."""
    found = {}
    for shots in SHOTS:
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("MLLMU_DATA", "mini")
            patch.setenv("MLLMU_SHOTS", shots)
            found[shots] = {leaf.name: _first_question(leaf) for leaf in leaves(15)}
    return found


def _first_question(leaf: Leaf) -> dict:
    questions = leaf_questions(leaf, Settings.from_environment())
    doc = questions.rows[0]
    messages = task.to_messages(doc)
    for message in messages:
        message["content"] = [p["text"] if p["type"] == "text" else "<image>" for p in message["content"]]
    return {
        "shot_people": list(questions.shots),
        "person": doc["person"],
        "question_index": doc["question_index"],
        "official": task.to_text(doc),
        "chat": messages,
        "images": len(task.to_visual(doc)),
    }


def test_prompts_are_the_golden_ones(rendered):
    if os.environ.get("MLLMU_WRITE_GOLDEN"):
        GOLDEN.write_text(json.dumps(rendered, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    assert rendered == json.loads(GOLDEN.read_text(encoding="utf-8"))


@pytest.mark.parametrize("leaf", list(leaves(15)), ids=lambda leaf: leaf.name)
@pytest.mark.parametrize("shots", SHOTS)
def test_every_placeholder_has_its_image(rendered, shots, leaf):
    prompt = rendered[shots][leaf.name]
    assert prompt["official"].count("<image>") == prompt["images"]
    assert sum(part == "<image>" for m in prompt["chat"] for part in m["content"]) == prompt["images"]
    people = dict(zip(("classification", "cloze"), {"0": (0, 0), "1,1": (1, 1)}.get(shots, (1, 2)), strict=True))
    people = people.get(leaf.task, 0) * (leaf.split != Split.REAL)
    assert len(prompt["shot_people"]) == people
    shown = people * {"classification": 5, "cloze": 2, "generation": 0}[leaf.task]
    assert prompt["images"] == (shown + 1 if leaf.modality == "image" else 0)
    assert len(prompt["chat"]) == 2 * shown + 1


def question(**more) -> Question:
    given = {"task": Task.CLASSIFICATION, "modality": Modality.TEXT, "index": 0, "slot": 0, "text": "Who?", "gold": "A"}
    options = (("A", "x"), ("B", "y"), ("C", "z"), ("D", None))
    return Question(**(given | {"stored_gold": "A.", "options": options} | more))


def test_a_missing_option_is_none_officially_and_dropped_in_chat():
    assert official(question()) == (
        "USER:\nWho?\nA: x\nB: y\nC: z\nD: None\nJust give ONE letter representing the answer directly.\nASSISTANT:"
    )
    assert "D:" not in chat_text(question())


def test_official_shots_print_the_gold_as_stored():
    shot = "USER:\nQuestion: Who?\nA: x\nB: y\nC: z\nD: None\nCorrect Answer: A.\n"
    assert official(question(), [question()]).startswith(shot + "USER:\nWho?")


def test_four_underscores_become_two_blanks():
    asked = question(task=Task.CLOZE, text="From ____.", options=())
    assert official(asked).startswith("USER:\nFrom [Blank][Blank].\nPlease **ONLY**")
