"""PaliGemma: prompt in both directions, answer from left to right, as its processor's `suffix=` has it."""

import pytest
import torch
from asking import SETTINGS, ask, document
from PIL import Image
from tiny_models import FAMILIES, save, sharpen

from mllmu_tasks.data.source import open_source
from mllmu_tasks.errors import UserError
from mllmu_tasks.harness.hf import MllmuHf
from mllmu_tasks.models.encode import encode
from mllmu_unlearn.config.commands import FinetuneConfig, UnlearnConfig, parse
from mllmu_unlearn.toolbox.forward import forward
from mllmu_unlearn.toolbox.losses import IGNORED
from mllmu_unlearn.toolbox.samples import ImageRef, Sample, Turn
from mllmu_unlearn.training import plan, run
from mllmu_unlearn.training.collator import Collator
from mllmu_unlearn.training.encoders import encoder_for

REF = ImageRef(None, "ft_Data", "001", 0)
FACE = Image.new("RGB", (56, 56), (200, 10, 30))
SHORT = Sample("001", (Turn("Who is this?", "Ada Bson", REF),), "ft_Data")
LONG = Sample("001", (Turn("Where does this person live, tell me?", "In Quito, in Lima or in Oslo", REF),), "ft_Data")


@pytest.fixture(scope="module")
def paligemma(texts):
    model, processor = FAMILIES["paligemma"](texts)
    return sharpen(model, 3.0), processor


def test_rows_are_the_processors_own(paligemma):
    model, processor = paligemma
    for sample in (SHORT, LONG):
        row = encoder_for(model, processor)(sample, [FACE])
        own = processor(text=f"<image>{sample.question}", images=FACE, suffix=sample.answer, return_tensors="pt")
        assert set(row) == set(own)
        assert all(torch.equal(row[name], own[name]) for name in own)


def test_labels_and_the_causal_part_are_the_answer_and_its_end(paligemma):
    model, processor = paligemma
    row = encoder_for(model, processor)(SHORT, [FACE])
    scored = row["labels"] != IGNORED
    assert processor.tokenizer.decode(row["labels"][scored]) == "Ada Bson</s>"
    assert torch.equal(row["token_type_ids"].bool(), scored)
    assert not scored[0, : -int(scored.sum())].any()


def test_the_prompt_is_the_one_of_the_evaluation(paligemma):
    model, processor = paligemma
    row = encoder_for(model, processor)(LONG, [FACE])
    message = {"role": "user", "content": [{"type": "image"}, {"type": "text", "text": LONG.question}]}
    prompt = encode(processor, processor.apply_chat_template([message], add_generation_prompt=True), [FACE])
    before = row["labels"][0] == IGNORED
    for name in ("input_ids", "token_type_ids", "attention_mask"):
        assert torch.equal(row[name][0, before], prompt[name][0])


def test_an_answer_is_seen_from_left_to_right_only(paligemma):
    """Later tokens of the answer change nothing; other tokens of the prompt change everything."""
    model, processor = paligemma
    row = encoder_for(model, processor)(LONG, [FACE])
    inputs = {name: value for name, value in row.items() if name != "labels"}
    other = {**inputs, "input_ids": inputs["input_ids"].clone()}
    other["input_ids"][0, -2] += 1
    later = {**inputs, "input_ids": inputs["input_ids"].clone()}
    later["input_ids"][0, 17] += 1
    with torch.no_grad():
        logits, changed, moved = (model(**x).logits[0] for x in (inputs, other, later))
    assert torch.equal(logits[:-2], changed[:-2])
    assert not torch.allclose(logits[-2], changed[-2], atol=1e-4)
    assert not torch.allclose(logits[16], moved[16], atol=1e-6)  # before the token that was changed


def test_a_padded_batch_gives_the_logits_of_single_rows(paligemma):
    model, processor = paligemma
    picks = [(n, encoder_for(model, processor)(sample, [FACE]), False) for n, sample in enumerate((SHORT, LONG))]
    collator = Collator(padding=0, whole_sequence=True)
    batch = collator.batch(picks)
    assert batch["padding"] > 0
    with torch.no_grad():
        together = forward(model, batch)
        for place, pick in enumerate(picks):
            alone = forward(model, collator.batch([pick]))[0]
            assert torch.allclose(together[place, : len(alone)], alone, atol=1e-5)


def argv(base, data, out, *more: str) -> list[str]:
    flags = {"model_name_or_path": base, "data": data, "output_dir": out}
    named = [word for name, value in flags.items() for word in (f"--{name}", str(value))]
    return [*named, "--use_cpu", "--disable_tqdm", "true", "--forget_ratio", "5", *more]


@pytest.fixture(scope="module")
def base(texts, tmp_path_factory):
    return save("paligemma", tmp_path_factory.mktemp("paligemma") / "base", texts, 3.0)


IMAGES = ("--modalities", "image")
REFUSED = [
    ("grad_diff", ["--modalities", "image,text"], "takes no text without an image; use --modalities image"),
    ("npo", ["--modalities", "text", "--dry_run"], "use --modalities image"),
    ("mmunlearner", [*IMAGES], "'mmunlearner' also trains on text alone"),
    ("grad_diff", [*IMAGES, "--protocol", "official"], "leave out --protocol official"),
    ("grad_diff", [*IMAGES, "--benchmark_questions", "--benchmark_shots", "1"], "use --benchmark_shots 0"),
]


@pytest.mark.parametrize(("method", "flags", "said"), REFUSED)
def test_what_cannot_be_trained_is_refused_before_a_model_is_loaded(
    method, flags, said, base, data, tmp_path, monkeypatch
):
    monkeypatch.setattr(run.base_model, "load_model", None)
    config = parse(UnlearnConfig, ["--method", method, *argv(base, data, tmp_path / "out", *flags)])
    with pytest.raises(UserError, match=said):
        run.unlearn(config)
    assert not (tmp_path / "out").exists()


def test_what_was_learnt_is_what_the_evaluation_hears(base, data, tmp_path):
    """A few steps on image pairs, then the model of lmms-eval answers with the words learnt."""
    flags = [*IMAGES, "--people", "forget", "--max_steps", "250", "--learning_rate", "5e-3", "--save_strategy", "no"]
    config = parse(FinetuneConfig, argv(base, data, tmp_path / "out", *flags))
    samples = plan.make(config, open_source(str(data))).sides["train"]
    out = run.finetune(config)

    def messages(doc: dict) -> list[dict]:
        (image,) = samples[doc["question_index"]].images()
        return [
            {"role": "user", "content": [{"type": "image", "url": image}, {"type": "text", "text": doc["question"]}]}
        ]

    docs = [document(n, sample.question, images=1) for n, sample in enumerate(samples)]
    model = MllmuHf(pretrained=str(out), device="cpu", batch_size=4)
    answers = ask(model, docs, {**SETTINGS, "max_new_tokens": 16}, messages)
    assert answers == [sample.answer for sample in samples]
    assert len(set(answers)) > 2  # not one answer for all
