"""Any mixture of prompts in a batch gets the answers that each prompt gets alone."""

import pytest
import tiny_models
from asking import MIXED, ask, document

from mllmu_tasks.harness.hf import MllmuHf


def show_ids(model):
    """Token ids for text: random tokens are mostly broken UTF-8, which decodes alike."""
    special = set(model.engine.tokenizer.all_special_ids)
    model.engine.read = lambda rows: [" ".join(str(n) for n in row if n not in special) for row in rows]


OFFICIAL = [("llava", "official"), ("idefics3", "official")]  # the mark of an image is <image>


@pytest.mark.parametrize(("family", "style"), [*((family, "chat") for family in tiny_models.FAMILIES), *OFFICIAL])
def test_a_mixed_batch_answers_as_one_by_one(folders, family, style):
    model = MllmuHf(pretrained=str(folders(family)), device="cpu", batch_size=1, prompt_style=style)
    answers_are_those_of_one_by_one(model, family)


@pytest.mark.parametrize("family", tiny_models.FAMILIES)
def test_with_an_adapter_too(folders, adapters, family):
    """The adapter's answers differ from the base's, and neither depends on the batch."""
    plain = MllmuHf(pretrained=str(folders(family)), device="cpu", batch_size=1)
    show_ids(plain)
    adapted = MllmuHf(pretrained=str(folders(family)), peft=str(adapters(family)), device="cpu", batch_size=1)
    assert answers_are_those_of_one_by_one(adapted, family) != ask(plain, documents(family))


def documents(family):
    return [doc for doc in MIXED if doc["images"] or family not in tiny_models.NEED_IMAGES]


def answers_are_those_of_one_by_one(model, family):
    show_ids(model)
    docs = documents(family)
    alone = ask(model, docs)
    assert len(set(alone)) >= len(docs) - 1  # the answers depend on the prompts
    model.batch_size = 8
    assert ask(model, docs) == alone
    model.batch_size = 3
    assert ask(model, docs[::-1]) == alone[::-1]
    return alone


@pytest.mark.parametrize("family", tiny_models.NEED_IMAGES)
def test_a_prompt_that_the_model_cannot_take_ends_the_run_before_it_starts(folders, family, capsys):
    model = MllmuHf(pretrained=str(folders(family)), device="cpu", batch_size=8)
    with pytest.raises(SystemExit):
        ask(model, MIXED)
    assert "person 002, question 2, whose prompt has 0 images" in capsys.readouterr().err
    assert model.engine.counts.questions == 0


@pytest.mark.parametrize("family", tiny_models.FAMILIES)
def test_answers_depend_on_the_image(folders, family):
    model = MllmuHf(pretrained=str(folders(family)), device="cpu", batch_size=8)
    show_ids(model)
    answers = ask(model, [document(n, "Who is it?", images=1) for n in range(6)])
    assert len(set(answers)) > 1
