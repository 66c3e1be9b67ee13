"""Golden snapshots of every prompt, official and chat; rewrite them with MLLMU_WRITE_GOLDEN=1 and read the diff."""

import json
import os
from pathlib import Path

import pytest

from mllmu_tasks import task
from mllmu_tasks.benchmark import Leaf, Modality, Split, Task, leaves
from mllmu_tasks.people import Question
from mllmu_tasks.prompts import chat_text, official
from mllmu_tasks.questions import leaf_questions
from mllmu_tasks.settings import Settings

GOLDEN = Path(__file__).parent.parent / "golden" / "prompts.json"


@pytest.fixture(scope="module")
def rendered():
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MLLMU_DATA", "mini")
        found = {}
        for leaf in leaves(15):
            doc = leaf_questions(leaf, Settings.from_environment()).rows[0]
            messages = task.to_messages(doc)
            for message in messages:
                message["content"] = [p["text"] if p["type"] == "text" else "<image>" for p in message["content"]]
            found[leaf.name] = {"official": task.to_text(doc), "chat": messages, "images": len(task.to_visual(doc))}
        return found


def test_prompts_are_the_golden_ones(rendered):
    if os.environ.get("MLLMU_WRITE_GOLDEN"):
        GOLDEN.write_text(json.dumps(rendered, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    assert rendered == json.loads(GOLDEN.read_text(encoding="utf-8"))


@pytest.mark.parametrize("leaf", [leaf.name for leaf in leaves(15)])
def test_every_placeholder_has_its_image(rendered, leaf):
    prompt = rendered[leaf]
    assert prompt["official"].count("<image>") == prompt["images"]
    assert sum(part == "<image>" for m in prompt["chat"] for part in m["content"]) == prompt["images"]
    parsed = Leaf.parse(leaf)
    shots = {"classification": 5, "cloze": 4, "generation": 0}[parsed.task] * (parsed.split != Split.REAL)
    assert prompt["images"] == (shots + 1 if parsed.modality == "image" else 0)
    assert len(prompt["chat"]) == 2 * shots + 1


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
