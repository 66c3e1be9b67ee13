"""Mllama: a batch of image and text rows gives each row what it gets among its like, gradients included."""

import pytest
import torch
from PIL import Image
from tiny_models import FAMILIES, sharpen

from mllmu_tasks.models.families.mllama import mix_rows
from mllmu_unlearn.toolbox.forward import forward
from mllmu_unlearn.toolbox.samples import ImageRef, Sample, Turn
from mllmu_unlearn.training.collator import Collator
from mllmu_unlearn.training.encoders import encoder_for
from mllmu_unlearn.training.reference import cache

SHOWN = [
    Sample("001", (Turn("Who is this?", answer, ImageRef(None, "ft_Data", "001", 0)),), "ft_Data")
    for answer in ("Ada Bson", "It is Eve of Oslo, I think")
]
WRITTEN = [
    Sample("001", (Turn(question, "In Oslo"),), "biography")
    for question in ("Where does Ada Bson live, tell me?", "Where?", "And Eve?")
]


@pytest.fixture(scope="module")
def model_and_processor(texts):
    model, processor = FAMILIES["mllama"](texts)
    mix_rows(sharpen(model, 3.0))
    return model, processor


@pytest.fixture(scope="module")
def picks(model_and_processor):
    """Rows that the collator takes: image rows first, then text rows."""
    model, processor = model_and_processor
    encode = encoder_for(model, processor)
    faces = [Image.new("RGB", size, color) for size, color in (((56, 56), "red"), ((56, 112), "blue"))]
    rows = [encode(sample, [face]) for sample, face in zip(SHOWN, faces, strict=True)]
    rows += [encode(sample, []) for sample in WRITTEN]
    return [(index, row, False) for index, row in enumerate(rows)]


def nll(model, picks) -> torch.Tensor:
    """Summed over the answers."""
    batch = Collator(padding=0).batch(picks)
    logits = forward(model, batch)
    return torch.nn.functional.cross_entropy(logits.flatten(0, 1), batch["labels"].flatten(), reduction="sum")


def gradients(model, *batches) -> dict[str, torch.Tensor]:
    model.zero_grad()
    for batch in batches:
        nll(model, batch).backward()
    return {name: torch.zeros(()) if p.grad is None else p.grad.clone() for name, p in model.named_parameters()}


def test_loss_and_gradients_are_those_of_two_batches_of_one_modality(model_and_processor, picks):
    model, _ = model_and_processor
    mixed = [picks[n] for n in (2, 0, 3, 1, 4)]
    with torch.no_grad():
        apart = nll(model, picks[:2]) + nll(model, picks[2:])
        assert torch.allclose(nll(model, mixed), apart, rtol=1e-6)
    one, two = gradients(model, mixed), gradients(model, picks[:2], picks[2:])
    assert sum(gradient.any().item() for gradient in one.values()) > 0.9 * len(one)  # gates and the vision tower too
    for name, gradient in one.items():
        scale = two[name].abs().max()
        assert torch.allclose(gradient, two[name].expand_as(gradient), rtol=1e-4, atol=1e-5 * float(scale) + 1e-9), name


def test_a_text_row_beside_an_image_says_what_it_says_alone(model_and_processor, picks):
    model, _ = model_and_processor
    batch = Collator(padding=0, whole_sequence=True).batch([picks[0], picks[2], picks[1]])
    alone = Collator(padding=0, whole_sequence=True).batch([picks[2]])
    length = alone["input_ids"].shape[1]
    with torch.no_grad():
        beside, lone = forward(model, batch)[1, :length], forward(model, alone)[0]
    assert torch.allclose(beside, lone, atol=2e-6)
    assert lone.abs().max() > 0.1


def test_rows_of_one_and_two_images_say_what_they_say_alone(model_and_processor, picks):
    model, processor = model_and_processor
    encode = encoder_for(model, processor)
    turns = (Turn("Who is that?", "Eve", SHOWN[0].turns[0].image), *SHOWN[0].turns)
    faces = [Image.new("RGB", (56, 56), color) for color in ("red", "green")]
    two = (5, encode(Sample("001", turns, "benchmark", learnt=2), faces), False)
    chosen, collator = [picks[0], picks[2], two], Collator(padding=0, whole_sequence=True)
    with torch.no_grad():
        together = forward(model, collator.batch(chosen))
        for place, pick in enumerate(chosen):
            alone = forward(model, collator.batch([pick]))[0]
            assert torch.allclose(together[place, : len(alone)], alone, atol=2e-6)


def test_gradients_of_text_rows_leave_all_that_reads_images_alone(model_and_processor, picks):
    model, _ = model_and_processor
    muted = (0, picks[0][1], True)
    for name, gradient in gradients(model, [muted, *picks[2:]]).items():
        if "vision" in name or "cross_attn" in name or "multi_modal_projector" in name:
            assert not gradient.any(), name
        if name.endswith("embed_tokens.weight"):
            assert gradient.any()


def test_batches_of_one_modality_stay_bit_for_bit_what_they_were(texts, model_and_processor, picks):
    model, _ = model_and_processor
    plain = sharpen(FAMILIES["mllama"](texts)[0], 3.0)
    for chosen in (picks[:2], picks[2:]):
        batch = Collator(padding=0).batch(chosen)
        with torch.no_grad():
            assert torch.equal(forward(model, batch), forward(plain, batch))


def test_cached_references_do_not_depend_on_the_batches(model_and_processor, picks):
    model, _ = model_and_processor
    collator = Collator(padding=0)
    mixed = cache(model, [collator.batch([picks[n] for n in (4, 1, 2)]), collator.batch([picks[3], picks[0]])], 5)
    alone = cache(model, [collator.batch([pick]) for pick in picks], 5)
    assert torch.allclose(mixed.logprobs, alone.logprobs, rtol=1e-5)


def test_a_mask_that_only_image_rows_have_is_zero_in_the_others(picks):
    batch = Collator(padding=0).batch([picks[2], picks[0]])
    mask = batch["cross_attention_mask"]
    assert mask.shape[:2] == batch["input_ids"].shape
    assert not mask[0].any()
    assert mask[1].any()
    assert len(batch["pixel_values"]) == 1  # nothing stands in for an image
