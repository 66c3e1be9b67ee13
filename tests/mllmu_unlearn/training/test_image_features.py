"""Image features of a frozen tower: once an image, and the losses stay what they were."""

import copy

import pytest
import torch
from tiny_llavas import tiny_llava, tiny_llava_next
from transformers import set_seed

from mllmu_tasks.data.source import open_source
from mllmu_unlearn.config.commands import UnlearnConfig, parse
from mllmu_unlearn.toolbox.adapter_sites import Lora, add_lora
from mllmu_unlearn.toolbox.forward import forward
from mllmu_unlearn.training import image_features, run
from mllmu_unlearn.training.collator import Collator
from mllmu_unlearn.training.encoders import encoder_for
from mllmu_unlearn.training.image_features import ImageFeatures, why_plain
from mllmu_unlearn.training.reference import AdapterOff
from mllmu_unlearn.training.samples import Rows, TrainingSet

BIG = 2**30


@pytest.fixture(params=[tiny_llava, tiny_llava_next])
def wrapped(request, texts, data):
    """(model with a LoRA that says something, rows, collator)."""
    model, processor = request.param(texts)
    set_seed(0)
    model = add_lora(copy.deepcopy(model).to(torch.float64), Lora(r=2, dropout=0.0)).to(torch.float64)
    for name, parameter in model.named_parameters():
        if "lora_B" in name:
            torch.nn.init.normal_(parameter, std=0.05)
    training = TrainingSet(open_source(str(data)), ("image", "text"))
    encoder = encoder_for(model.get_base_model(), processor)
    return model, Rows({"forget": training.of(["003", "007"])}, encoder), Collator(0)


def batches(rows: Rows, collator: Collator) -> list[dict]:
    picks = [(i, rows.row("forget", i), False) for i in range(len(rows))]
    return [collator.batch(picks[start : start + 5]) for start in range(0, len(picks), 5)]


def outcomes(model, made: list[dict]) -> list[torch.Tensor]:
    """Logits at scored positions and gradients of each batch, and what the adapter-off model says."""
    found = []
    for batch in made:
        scored = batch["labels"] != -100
        found.append(AdapterOff(model, "logits")(batch).logits[scored])
        logits = forward(model, batch)[scored]
        model.zero_grad()
        logits.square().mean().backward()
        found += [logits.detach(), *(p.grad.clone() for p in model.parameters() if p.grad is not None)]
    return found


@pytest.mark.parametrize("room", [2, 1, 0])
def test_equal_logits_and_gradients_with_and_without(wrapped, room):
    model, rows, collator = wrapped
    plain = outcomes(model, batches(rows, collator))
    images = ImageFeatures(model, BIG)
    with images.used(rows):
        forward(model, batches(rows, collator)[0])
    ((size,),) = {tuple(f.nbytes for f in kept) for kept in images.cache.kept.values()}
    images = ImageFeatures(model, room * size)
    with images.used(rows):
        once = outcomes(model, batches(rows, collator) * 2)
    assert len(once) == 2 * len(plain)
    for one, other in zip(plain * 2, once, strict=True):
        assert torch.allclose(one, other, rtol=1e-9, atol=1e-9)
    assert sum(f.nbytes for (f,) in images.cache.kept.values()) == room * size
    assert (room == 2) == (images.encoded == 2)


def test_each_image_passes_the_tower_once(wrapped):
    model, rows, collator = wrapped
    seen = []
    tower = model.get_base_model().model.vision_tower
    tower.register_forward_hook(lambda *_: seen.append(1))
    images = ImageFeatures(model, BIG)
    with images.used(rows):
        for batch in batches(rows, collator) * 3:
            forward(model, batch)
            AdapterOff(model, "logprobs")(batch)
    shown = sum(len(sample.images()) for sample in rows.sides["forget"])
    assert images.encoded == 2
    assert images.encoded + images.reused == 6 * shown
    assert len(seen) <= 2
    forward(model, batches(rows, collator)[0])  # outside, the model is as it was
    assert len(seen) == 3


def test_who_cannot_keep_them(family, texts):
    model = copy.deepcopy(family[0])
    kind = model.config.model_type
    lora = add_lora(copy.deepcopy(model), Lora(r=2))
    assert (why_plain(lora) is None) == (kind == "llava")
    if kind != "llava":
        return
    assert why_plain(add_lora(copy.deepcopy(model), Lora(r=2, targets=("vision",)))) == "the vision_tower is trained"
    assert "projector is trained" in why_plain(add_lora(copy.deepcopy(model), Lora(r=2, targets=("projector",))))
    assert "trained" in why_plain(model.requires_grad_(True))
    assert why_plain(lora, [r"vision_tower\.encoder\.layers\.0"]) == "the loss looks into it"
    assert image_features.make(lora, (), BIG, right_padded=True, show=False).model is lora


def test_a_run_says_which_and_counts(checkpoint, data, tmp_path, capsys):
    where = ["--model_name_or_path", str(checkpoint), "--data", str(data), "--output_dir", str(tmp_path / "out")]
    flags = [*where, "--method", "npo", "--forget_ratio", "5", "--lora_r", "2", "--use_cpu", "--disable_tqdm", "true"]
    trained = []
    save = run._save

    def remember(trainer, *rest):
        trained.append([log["loss"] for log in trainer.state.log_history if "loss" in log])
        trained.append(rest[-1])
        save(trainer, *rest)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(run, "_save", remember)
        run.unlearn(parse(UnlearnConfig, [*flags, "--num_train_epochs", "2", "--logging_steps", "1"]))
        assert "image features are computed once" in capsys.readouterr().out
        patch.setattr(image_features, "why_plain", lambda *_: "this is a test")
        run.unlearn(parse(UnlearnConfig, [*flags, "--num_train_epochs", "2", "--logging_steps", "1"]))
        assert "in every forward: this is a test" in capsys.readouterr().out
    once, summary, plain, _ = trained
    assert once == pytest.approx(plain, rel=1e-4, abs=1e-4)
    assert summary["images_encoded"] <= 20  # people; three epochs of forget, two of retain
    assert summary["images_reused"] > summary["images_encoded"]
    assert 0 < summary["padding"] < 0.2  # a few samples, and a last batch that is not full
