"""Tiny random models of several families, each with its processor, by name: FAMILIES["llava"](texts)."""

from pathlib import Path

import torch
from tiny_architectures import tiny_idefics3, tiny_qwen

from mllmu_tasks.mini.tiny import TinyShape, build_tiny_llava

SHAPE = TinyShape(hidden=32, layers=2, heads=2, feed_forward=48, vision_hidden=32, vision_layers=1, vocabulary=400)
WORDS = [
    "Where does the person in the image live? In Oslo, Quito, Lima or Accra.",
    "USER: ASSISTANT: Question: Correct Answer: A: B: C: D: the name of this person is Ada Berg.",
]


def tiny_llava(texts=WORDS):
    return build_tiny_llava(texts, shape=SHAPE)


FAMILIES = {"llava": tiny_llava, "qwen2_5_vl": tiny_qwen, "idefics3": tiny_idefics3}


def sharpen(model, factor: float = 15.0):
    """Make the layers weigh more than the embeddings; fresh random weights repeat their last token."""
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if parameter.ndim > 1 and "embed" not in name:
                parameter.mul_(factor)
    return model


def save(family: str, folder: Path) -> Path:
    """A folder that plain `from_pretrained` opens."""
    model, processor = FAMILIES[family](WORDS)
    sharpen(model).save_pretrained(folder)
    processor.save_pretrained(folder)
    return folder
