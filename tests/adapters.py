"""Adapters made on the spot with PEFT for a saved tiny model."""

from pathlib import Path

import torch
import yaml
from peft import IA3Config, LoraConfig, PeftModel, ShiraConfig, get_peft_model
from transformers import AutoModelForImageTextToText

from mllmu_tasks.artifacts.identity import weights_fingerprint

LANGUAGE = r".*(language|text)_model\.layers\.\d+\.(self_attn\.(q|v)_proj|mlp\.(up|down)_proj)"
CONFIGS = {
    "lora": lambda: LoraConfig(r=4, target_modules=LANGUAGE),
    "ia3": lambda: IA3Config(target_modules=LANGUAGE, feedforward_modules=r".*down_proj"),
    "shira": lambda: ShiraConfig(r=2, target_modules=LANGUAGE),
}


def make_adapter(
    base: Path, folder: Path, kind: str, *, scale: float = 1.0, record: dict | None = None, seed: int = 0
) -> Path:
    """Random weights, by default large enough to change answers; scale 0: the neutral ones of PEFT's start.

    record: None writes the unlearning.yaml of `base`; {} none; others are written as given.
    """
    model = get_peft_model(AutoModelForImageTextToText.from_pretrained(base), CONFIGS[kind]())
    save_adapter(model, folder, scale, seed)
    made_from = {"name_or_path": str(base), "revision": None, "fingerprint": weights_fingerprint(str(base))}
    record = {"format": 1, "kind": kind, "base_model": made_from} if record is None else record
    if record:
        (folder / "unlearning.yaml").write_text(yaml.safe_dump(record))
    return folder


def save_adapter(model: PeftModel, folder: Path, scale: float = 1.0, seed: int = 0) -> Path:
    """Add random numbers of this scale to the adapter's weights, and save it."""
    draw = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.requires_grad and scale:
                parameter.add_(scale * torch.randn(parameter.shape, generator=draw))
    model.save_pretrained(folder)
    return folder


def make_prompt_folder(base: Path, folder: Path, text: str) -> Path:
    folder.mkdir()
    record = {
        "kind": "prompt",
        "system_prompt": text,
        "base_model": {"name_or_path": str(base), "fingerprint": weights_fingerprint(str(base))},
    }
    (folder / "unlearning.yaml").write_text(yaml.safe_dump(record))
    return folder
