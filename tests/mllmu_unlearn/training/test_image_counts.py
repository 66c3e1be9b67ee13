"""A processor that writes another number of tokens than the model makes features: refused, whoever computes them."""

import json
import shutil

import pytest
import torch
from tiny_llavas import tiny_llava
from tiny_models import FAMILIES
from tiny_parts import WORDS

from mllmu_tasks.errors import UserError
from mllmu_tasks.models.encode import encode
from mllmu_tasks.models.families import family_of
from mllmu_tasks.models.image_tokens import runs, watch
from mllmu_unlearn.config.commands import UnlearnConfig, parse
from mllmu_unlearn.training import run
from mllmu_unlearn.training.image_features import ImageFeatures


def face(colour: str):
    from PIL import Image

    return Image.new("RGB", (56, 56), colour)


def row(processor, images: int):
    content = [{"type": "image"}] * images + [{"type": "text", "text": "Who?"}]
    text = processor.apply_chat_template([{"role": "user", "content": content}], add_generation_prompt=True)
    return encode(processor, text, [face(colour) for colour in ("red", "blue")[:images]])


def spoil(checkpoint, folder, **settings):
    """A copy whose processor has other settings; None: without this one."""
    shutil.copytree(checkpoint, folder)
    file = folder / "processor_config.json"
    kept = {k: v for k, v in (json.loads(file.read_text()) | settings).items() if v is not None}
    file.write_text(json.dumps(kept))
    return folder


@pytest.mark.parametrize("settings", [{"patch_size": 28}, {"num_additional_image_tokens": None}], ids=str)
@pytest.mark.parametrize("more", [(), ("--feature_gb", "0"), ("--lora_target", "language,vision")], ids=str)
def test_training_stops_before_its_first_step(checkpoint, data, tmp_path, settings, more):
    base = spoil(checkpoint, tmp_path / "base", **settings)
    argv = ["--method", "grad_diff", "--model_name_or_path", str(base), "--data", str(data), "--forget_ratio", "5"]
    argv += ["--output_dir", str(tmp_path / "out"), "--modalities", "image", "--lora_r", "2", "--max_steps", "2"]
    argv += ["--use_cpu", "--disable_tqdm", "true", *more]
    with pytest.raises(UserError, match="features of it; give the processor this model's patch_size"):
        run.unlearn(parse(UnlearnConfig, argv))
    assert not list(tmp_path.glob("out*"))


@pytest.mark.parametrize("family", [name for name in FAMILIES if family_of(name).layout])
def test_each_family_is_watched(family):
    model, processor = FAMILIES[family](WORDS)
    watch(model)
    inputs = row(processor, 1)
    found = runs([inputs["input_ids"]], model.config.image_token_id)
    with torch.no_grad():
        fine = model(**inputs, image_runs=found).logits
        assert torch.equal(fine, model(**inputs).logits)
        with pytest.raises(UserError, match="tokens for an image"):
            model(**inputs, image_runs=[found[0] - 1, *found[1:]])


def test_equal_sums_do_not_hide_a_shift():
    """One image token too few in the first row, one too many in the second: Transformers compares the sums alone."""
    model, processor = tiny_llava()
    model.requires_grad_(False)
    one = row(processor, 1)
    ids = one["input_ids"].expand(2, -1).clone()
    places = (ids[0] == model.config.image_token_id).nonzero().flatten()
    ids[0, places[-1]] = processor.tokenizer.unk_token_id or 0
    ids[1, places[-1] + 1] = model.config.image_token_id
    pixels = torch.cat([row(processor, 2)["pixel_values"]])
    found = runs(ids.split(1), model.config.image_token_id)
    assert sum(found) == 2 * len(places)
    inputs = {"input_ids": ids, "attention_mask": torch.ones_like(ids), "pixel_values": pixels, "image_runs": found}
    for left_out in ((), ("image_runs",)):
        given = {name: value for name, value in inputs.items() if name not in left_out}
        with pytest.raises(UserError, match="tokens for an image"):
            ImageFeatures(model, 2**30)._embed(model, (), {**given, "images": [0, 1]})
    watch(model)
    with pytest.raises(UserError, match="tokens for an image"), torch.no_grad():
        model(**inputs)
