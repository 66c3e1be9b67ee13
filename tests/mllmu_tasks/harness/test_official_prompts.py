"""`prompt_style=official`: the raw strings reach the model, and Idefics2 is asked as the official code asks it."""

import pytest
from lmms_eval.api.instance import Instance

from mllmu_tasks.benchmarks.mllmu.questions import leaf_questions
from mllmu_tasks.benchmarks.mllmu.settings import Settings
from mllmu_tasks.benchmarks.mllmu.spec import Leaf
from mllmu_tasks.harness import task
from mllmu_tasks.harness.hf import MllmuHf

SETTINGS = {"max_new_tokens": 50, "do_sample": False, "temperature": 0, "until": ["ASSISTANT:"]}


@pytest.fixture(scope="module")
def models(folders):
    families = ("llava", "idefics2")
    return {name: MllmuHf(pretrained=str(folders(name)), device="cpu", prompt_style="official") for name in families}


@pytest.fixture
def asked(models, monkeypatch):
    """asked(family, leaf): the prompt of the leaf's first question as it reaches the engine."""
    monkeypatch.setenv("MLLMU_DATA", "mini")

    def ask(family: str, name: str):
        model, reached = models[family], []
        doc = leaf_questions(Leaf.parse(name), Settings.from_environment()).rows[0]
        model.task_dict = {name: {name: [doc]}}
        arguments = (task.to_text(doc), task.to_messages, dict(SETTINGS), 0, name, name)
        monkeypatch.setattr(model.engine, "answer", lambda batch: reached.extend(batch.prompts) or ["A"])
        model.generate_until(
            [Instance("generate_until", arguments, 0, {"task": name, "doc_id": 0, "repeats": 1})],
        )
        return reached[0]

    return ask


TOKENS = {"classification_text": 5, "classification_image": 50, "cloze_text": 50, "generation_text": 50}


@pytest.mark.parametrize(("leaf", "tokens"), TOKENS.items())
def test_idefics2_gives_five_tokens_to_letters_without_image(asked, monkeypatch, leaf, tokens):
    monkeypatch.setenv("MLLMU_SHOTS", "1,1")
    prompt = asked("idefics2", f"mllmu_forget_15_{leaf}")
    assert prompt.settings == {"max_new_tokens": tokens, "do_sample": False}
    assert prompt.text.startswith("USER:")
    assert prompt.text.count("Correct Answer: ") == {"c": 5 if "class" in leaf else 2, "g": 0}[leaf[0]]


@pytest.mark.parametrize("leaf", TOKENS)
def test_llava_gives_fifty_everywhere(asked, leaf):
    assert asked("llava", f"mllmu_test_15_{leaf}").settings["max_new_tokens"] == 50


@pytest.mark.parametrize("shots", ["1,2", "0", "2,1"])
def test_idefics2_with_other_shots_is_refused_before_an_answer(asked, monkeypatch, capsys, shots):
    monkeypatch.setenv("MLLMU_SHOTS", shots)
    with pytest.raises(SystemExit) as left:
        asked("idefics2", "mllmu_real_cloze_text")
    assert left.value.code == 2
    assert "set MLLMU_SHOTS=1,1" in capsys.readouterr().err
