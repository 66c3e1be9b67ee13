"""Tiny random models of every supported family, each with its processor, by name: FAMILIES["llava"](texts)."""

from pathlib import Path

import torch
from tiny_gemmas_and_mllama import tiny_gemma3, tiny_mllama, tiny_paligemma
from tiny_idefics import tiny_idefics2, tiny_idefics3
from tiny_llavas import tiny_llava, tiny_llava_next, tiny_llava_onevision
from tiny_parts import WORDS
from tiny_qwens import tiny_internvl, tiny_qwen2_5_vl, tiny_qwen2_vl, tiny_qwen3_vl

FAMILIES = {
    "llava": tiny_llava,
    "llava_next": tiny_llava_next,
    "llava_onevision": tiny_llava_onevision,
    "idefics2": tiny_idefics2,
    "idefics3": tiny_idefics3,
    "qwen2_vl": tiny_qwen2_vl,
    "qwen2_5_vl": tiny_qwen2_5_vl,
    "qwen3_vl": tiny_qwen3_vl,
    "internvl": tiny_internvl,
    "gemma3": tiny_gemma3,
    "mllama": tiny_mllama,
    "paligemma": tiny_paligemma,
}
NEED_IMAGES = ("paligemma",)


def sharpen(model, factor: float = 15.0):
    """Make answers depend on the whole prompt.

    Fresh random weights repeat their last token, so the layers get more weight than the embeddings; and what
    starts at zero (biases, gates, Gemma's projector) would keep images out.
    """
    draw = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if not parameter.any():
                parameter.copy_(0.3 * torch.randn(parameter.shape, generator=draw))
            elif parameter.ndim > 1 and "embed" not in name and "latents" not in name:
                parameter.mul_(factor)
    return model


def save(family: str, folder: Path, texts=WORDS, factor: float = 15.0) -> Path:
    """A folder that plain `from_pretrained` opens."""
    model, processor = FAMILIES[family](texts)
    sharpen(model, factor).save_pretrained(folder)
    processor.save_pretrained(folder)
    return folder
