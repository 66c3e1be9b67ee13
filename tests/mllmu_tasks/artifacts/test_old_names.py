"""Adapters saved by older versions of Transformers are the same adapters, in every family."""

import re

import pytest
import tiny_models
import torch
from adapters import save_adapter
from peft import LoraConfig, PeftModel, get_peft_model
from PIL import Image
from safetensors.torch import load_file, save_file
from transformers import AutoModelForImageTextToText, AutoProcessor

from mllmu_tasks.artifacts.adapter_folder import WEIGHTS, attach, read_adapter
from mllmu_tasks.artifacts.arrival import require_arrival
from mllmu_tasks.errors import UserError
from mllmu_tasks.models.encode import encode

LLAVAS = {
    "model.language_model.": "language_model.model.",
    "model.multi_modal_projector.": "multi_modal_projector.",
    "model.vision_tower.": "vision_tower.vision_model.",
}
QWENS = {"model.language_model.": "model.", "model.visual.": "visual."}
SAVED_BY_4_51 = {
    **dict.fromkeys(("llava", "llava_next", "llava_onevision", "gemma3", "paligemma"), LLAVAS),
    "internvl": LLAVAS | {"model.vision_tower.": "vision_tower."},
    "mllama": LLAVAS | {"model.vision_model.": "vision_model."},
    "qwen2_vl": QWENS,
    "qwen2_5_vl": QWENS,
}
TOWERS = {"model.vision_tower.": "model.vision_tower.vision_model."}
SAVED_BY_4_57 = dict.fromkeys(("llava", "llava_next", "llava_onevision", "gemma3", "paligemma"), TOWERS)


@pytest.fixture(scope="module")
def everywhere(folders, tmp_path_factory):
    """Family -> a LoRA adapter on every Linear layer but the head: language model, projector and vision tower."""

    def make(family):
        model = AutoModelForImageTextToText.from_pretrained(folders(family))
        linear = [name for name, module in model.named_modules() if isinstance(module, torch.nn.Linear)]
        names = "|".join(re.escape(name) for name in linear if "lm_head" not in name)
        wrapped = get_peft_model(model, LoraConfig(r=2, target_modules=names))
        return save_adapter(wrapped, tmp_path_factory.mktemp(family) / "lora", 0.3)

    return make


def rename(folder, names):
    """Give the tensors of an adapter other names, by the beginnings of those of their modules."""

    def old(name):
        path = name.removeprefix("base_model.model.")
        fits = [(new, old) for new, old in names.items() if path.startswith(new)]
        return f"base_model.model.{fits[0][1]}{path.removeprefix(fits[0][0])}" if fits else name

    stored = load_file(folder / WEIGHTS)
    renamed = {old(name): tensor for name, tensor in stored.items()}
    assert len(renamed) == len(stored)
    assert set(renamed) != set(stored)
    save_file(renamed, folder / WEIGHTS)


def load(base):
    return AutoModelForImageTextToText.from_pretrained(base).eval()


@torch.inference_mode()
def logits(model, inputs):
    return model(**inputs).logits


def a_question(base):
    """About an image, so that all parts of the model have a say."""
    processor = AutoProcessor.from_pretrained(base)
    image = Image.effect_noise((56, 56), 90).convert("RGB")
    content = [{"type": "image"}, {"type": "text", "text": "Who is it?"}]
    messages = [{"role": "user", "content": content}]
    return encode(processor, processor.apply_chat_template(messages, add_generation_prompt=True), [image])


CASES = [(family, names) for each in (SAVED_BY_4_51, SAVED_BY_4_57) for family, names in each.items()]


@pytest.mark.parametrize(("family", "names"), CASES)
def test_it_is_the_adapter_that_it_was(folders, everywhere, family, names):
    base, adapter = folders(family), everywhere(family)
    inputs = a_question(base)
    expected = logits(PeftModel.from_pretrained(load(base), adapter).eval(), inputs)
    rename(adapter, names)
    made = logits(attach(load(base), read_adapter(adapter), str(base)), inputs)
    assert torch.equal(made, expected)
    assert not torch.allclose(made, logits(load(base), inputs), atol=1e-3)


def test_every_family_is_here_or_was_never_renamed():
    assert set(tiny_models.FAMILIES) - set(SAVED_BY_4_51) == {"idefics2", "idefics3", "qwen3_vl"}


def test_what_peft_renames_by_itself_is_compared_as_it_renames(folders, adapters, tmp_path):
    base, folder = folders(), tmp_path / "lora"
    wrapped = PeftModel.from_pretrained(load(base), adapters())
    wrapped.save_pretrained(folder)
    rename(folder, LLAVAS)
    stored = load_file(folder / WEIGHTS)
    plain = PeftModel.from_pretrained(load(base), folder)
    require_arrival(plain, stored, folder, str(base))
    with torch.no_grad():
        next(p for name, p in plain.named_parameters() if "lora_B" in name).zero_()
    with pytest.raises(UserError, match=r"the values of .* differ from its file"):
        require_arrival(plain, stored, folder, str(base))


def test_a_tensor_under_two_names_is_an_error(folders, adapters, tmp_path):
    base, folder = folders(), tmp_path / "lora"
    PeftModel.from_pretrained(load(base), adapters()).save_pretrained(folder)
    stored = load_file(folder / WEIGHTS)
    rename(folder, LLAVAS)
    name = sorted(stored)[0]
    save_file(load_file(folder / WEIGHTS) | {name: stored[name] * 2}, folder / WEIGHTS)
    with pytest.raises(UserError, match="under two names"):
        attach(load(base), read_adapter(folder), str(base))
