"""Any mixture of prompts in a batch gets the answers that each prompt gets alone."""

import pytest
import tiny_models
from asking import MIXED, ask, document

from mllmu_tasks.models.hf import MllmuHf


def show_ids(model):
    """Token ids for text: random tokens are mostly broken UTF-8, which decodes alike."""
    special = set(model.engine.tokenizer.all_special_ids)
    model.engine.tokenizer.batch_decode = lambda rows, **_: [
        " ".join(str(n) for n in row if n not in special) for row in rows.tolist()
    ]


OFFICIAL = [("llava", "official"), ("idefics3", "official")]  # the mark of an image is <image>


@pytest.mark.parametrize(("family", "style"), [*((family, "chat") for family in tiny_models.FAMILIES), *OFFICIAL])
def test_a_mixed_batch_answers_as_one_by_one(folders, family, style):
    model = MllmuHf(pretrained=str(folders(family)), device="cpu", batch_size=1, prompt_style=style)
    show_ids(model)
    alone = ask(model, MIXED)
    assert all(alone)
    assert len(set(alone)) == len(MIXED)  # the answers depend on the prompts
    model.batch_size = 8
    assert ask(model, MIXED) == alone
    model.batch_size = 3
    assert ask(model, MIXED[::-1]) == alone[::-1]


@pytest.mark.parametrize("family", tiny_models.FAMILIES)
def test_answers_depend_on_the_image(folders, family):
    model = MllmuHf(pretrained=str(folders(family)), device="cpu", batch_size=8)
    show_ids(model)
    answers = ask(model, [document(n, "Who is it?", images=1) for n in range(6)])
    assert len(set(answers)) > 1
