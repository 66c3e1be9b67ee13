"""Labels cover exactly the answer and its end; every processor tensor reaches the model."""

import copy

import pytest
import torch
from PIL import Image

from mllmu_tasks.errors import UserError
from mllmu_tasks.models.batching import stack
from mllmu_tasks.models.encode import AnswerEncoder
from mllmu_unlearn.toolbox.losses import IGNORED
from mllmu_unlearn.toolbox.samples import ImageRef, Sample, Turn
from mllmu_unlearn.training.collator import Collator
from mllmu_unlearn.training.encoders import OfficialEncoder, SampleEncoder, encoder_for

FACE = [Image.new("RGB", (56, 56), (200, 10, 30))]
SHOWN = Sample("001", (Turn("Who is this?", "Ada Bson", ImageRef(None, "ft_Data", "001", 0)),), "ft_Data")
WRITTEN = Sample("001", (Turn("Where does Ada Bson live, tell me?", "In Oslo"),), "biography")


def encoder(family) -> SampleEncoder:
    model, processor = family
    return encoder_for(model, processor)


def scored(row) -> list[int]:
    return row["labels"][0][row["labels"][0] != IGNORED].tolist()


def test_labels_are_the_answer_and_its_end(family):
    encode, (_, processor) = encoder(family), family
    for sample, images in ((SHOWN, FACE), (WRITTEN, [])):
        row = encode(sample, images)
        labels = scored(row)
        assert processor.tokenizer.decode(labels[:-1]).strip() == sample.answer
        assert labels[-1] in encode.encode.stops
        assert row["input_ids"][0, -len(labels) :].tolist() == labels  # nothing behind the end
        assert row["labels"].shape == row["input_ids"].shape == row["attention_mask"].shape


def test_the_prompt_is_what_generation_sees(family):
    encode, (_, processor) = encoder(family), family
    row = encode(WRITTEN, [])
    messages = [{"role": "user", "content": [{"type": "text", "text": WRITTEN.question}]}]
    prompt = processor.apply_chat_template(
        messages, add_generation_prompt=True, tokenize=True, return_dict=True, return_tensors="pt"
    )["input_ids"][0]
    before = row["input_ids"][0][row["labels"][0] == IGNORED]
    assert before.tolist() == prompt[: len(before)].tolist()
    assert len(prompt) - len(before) <= 1


def test_a_mixed_batch_gives_the_logits_of_single_rows(family):
    encode, (model, _) = encoder(family), family
    rows = [encode(SHOWN, FACE), encode(WRITTEN, []), encode(SHOWN, FACE)]
    batch = stack(rows, {"labels": -100}, "right")
    with torch.no_grad():
        together = model(**{k: v for k, v in batch.items() if k != "labels"}).logits
        for place, row in enumerate(rows):
            alone = model(**{k: v for k, v in row.items() if k != "labels"}).logits
            length = alone.shape[1]
            assert torch.allclose(together[place, :length], alone[0], atol=1e-5)
            assert (batch["labels"][place, length:] == IGNORED).all()
            assert not batch["attention_mask"][place, length:].any()


def test_stacking_equals_the_processors_own_batch(family):
    encode, (_, processor) = encoder(family), family
    longer = Sample("001", (Turn("Who is this, say it?", "Ada", SHOWN.turns[0].image),), "ft_Data")
    fill = {"input_ids": processor.tokenizer.pad_token_id, "labels": -100}
    mine = stack([encode(SHOWN, FACE), encode(longer, FACE)], fill, "right")
    own = processor(
        text=[processor.apply_chat_template(_messages(s)) for s in (SHOWN, longer)],
        images=[FACE, FACE],
        padding=True,
        return_tensors="pt",
    )
    assert set(own) | {"labels"} == set(mine)
    for name in set(own) - {"input_ids", "attention_mask", "mm_token_type_ids"}:
        assert torch.equal(own[name], mine[name])


def _messages(sample: Sample) -> list[dict]:
    question = [{"type": "image"}, {"type": "text", "text": sample.question}]
    answer = [{"type": "text", "text": sample.answer}]
    return [{"role": "user", "content": question}, {"role": "assistant", "content": answer}]


def test_shots_are_context_only(family):
    encode, (_, processor) = encoder(family), family
    shot = Turn("Who is that?", "Eve", SHOWN.turns[0].image)
    row = encode(Sample("001", (shot, *SHOWN.turns), "benchmark"), FACE * 2)
    assert processor.tokenizer.decode(scored(row)[:-1]).strip() == SHOWN.answer
    assert "Eve" in processor.tokenizer.decode(row["input_ids"][0])


def test_every_learnt_answer_has_labels(family):
    encode, (_, processor) = encoder(family), family
    turns = (Turn("Who is that?", "Eve", SHOWN.turns[0].image), *SHOWN.turns, *WRITTEN.turns)
    both = encode(Sample("001", turns, "benchmark", learnt=2), FACE * 2)
    labels = scored(both)
    assert sum(token in encode.encode.stops for token in labels) == 2
    text = processor.tokenizer.decode(labels)
    assert "Ada Bson" in text
    assert "In Oslo" in text
    assert "Eve" not in text
    last = encode(Sample("001", turns, "benchmark"), FACE * 2)
    assert torch.equal(last["input_ids"], both["input_ids"])
    assert scored(last) == labels[-len(scored(last)) :]


def test_a_template_without_an_end_gets_one(tiny):
    processor = tiny[1]
    template = processor.chat_template
    try:
        processor.chat_template = template.replace("eos_token if", "' ' if")
        row = encoder(tiny)(WRITTEN, [])
    finally:
        processor.chat_template = template
    assert scored(row)[-1] == processor.tokenizer.eos_token_id
    assert processor.tokenizer.decode(scored(row)[:-1]).endswith("In Oslo")


def test_no_chat_template_is_an_error(tiny):
    processor = tiny[1]
    template = processor.chat_template
    try:
        processor.chat_template = None
        with pytest.raises(UserError, match="chat template"):
            encoder(tiny)
    finally:
        processor.chat_template = template


def test_official_llava_text_has_no_end_and_every_token_counts(tiny):
    _, processor = tiny
    row = OfficialEncoder(processor, raw=True)(SHOWN, FACE)
    image = processor.image_token * 16
    text = f"<s>USER: {image}\nWho is this?\nASSISTANT: Ada Bson"
    assert processor.tokenizer.decode(row["input_ids"][0]) == text
    assert torch.equal(row["labels"], row["input_ids"])


def test_collator_aligns_labels_with_kept_positions(tiny):
    encode = encoder(tiny)
    rows = [encode(SHOWN, FACE), encode(WRITTEN, [])]
    picks = [{"forget": (n, row, False)} for n, row in enumerate(rows)]
    batch = Collator(padding=0)(picks)["forget"]
    width = batch["input_ids"].shape[1]
    assert batch["index"].tolist() == [0, 1]
    assert batch["pixel_values"].shape[0] == 1
    assert len(batch["keep"]) < width
    for place, row in enumerate(rows):
        for position, label in zip(batch["keep"].tolist(), batch["labels"][place].tolist(), strict=True):
            following = row["labels"][0, position + 1 : position + 2].tolist()
            assert [label] == (following or [IGNORED])
        assert (batch["labels"][place] != IGNORED).sum() == len(scored(row))


def test_collator_of_whole_sequences_keeps_every_position(tiny):
    _, processor = tiny
    row = OfficialEncoder(processor, raw=True)(SHOWN, FACE)
    batch = Collator(padding=0, whole_sequence=True)([{"retain": (0, row, False)}])["retain"]
    assert batch["keep"].tolist() == list(range(row["input_ids"].shape[1]))
    assert batch["labels"][0].tolist() == [*row["input_ids"][0, 1:].tolist(), IGNORED]


def test_muted_items_carry_no_label(tiny):
    row = encoder(tiny)(SHOWN, FACE)
    batch = Collator(padding=0)([{"retain": (0, row, True)}])["retain"]
    assert (batch["labels"] == IGNORED).all()
    assert len(batch["keep"]) == 1


def test_a_token_tensor_missing_in_some_rows_is_an_error(tiny):
    rows = [encoder(tiny)(WRITTEN, []) for _ in range(2)]
    rows[0]["token_type_ids"] = torch.zeros_like(rows[0]["input_ids"])
    with pytest.raises(ValueError, match="token_type_ids"):
        stack(rows, {}, "right")


@pytest.mark.parametrize(
    "make", [lambda p: SampleEncoder(AnswerEncoder(p, {2})), lambda p: OfficialEncoder(p, raw=False)]
)
def test_a_template_that_keeps_the_question_back_is_refused_as_in_evaluation(tiny, make):
    processor = copy.copy(tiny[1])
    processor.chat_template = "{% for m in messages %}{{ m.role }}<image>{% endfor %}"
    for sample, images, what in ((SHOWN, FACE, "image"), (WRITTEN, [], "text")):
        with pytest.raises(UserError, match=f"person 001: the model's chat template never shows the {what} of turn 1"):
            make(processor)(sample, images)
