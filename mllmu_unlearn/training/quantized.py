"""QLoRA: the base model in 4 bits (bitsandbytes), LoRA on top in float32. Flags are spelt as in TRL."""

from typing import TYPE_CHECKING

import torch
from peft import prepare_model_for_kbit_training
from transformers import BitsAndBytesConfig, PreTrainedModel

if TYPE_CHECKING:
    from mllmu_unlearn.config.commands import FinetuneConfig, UnlearnConfig


def settings(config: "UnlearnConfig | FinetuneConfig") -> BitsAndBytesConfig | None:
    """What `from_pretrained` takes as `quantization_config`; None for an ordinary run."""
    if not config.load_in_4bit:
        return None
    half = torch.float16 if config.fp16 or config.dtype == "float16" else torch.bfloat16
    return BitsAndBytesConfig(
        load_in_4bit=True,
        bnb_4bit_quant_type=config.bnb_4bit_quant_type,
        bnb_4bit_use_double_quant=config.use_bnb_nested_quant,
        bnb_4bit_compute_dtype=torch.float32 if config.dtype == "float32" else half,
    )


def prepared(model: PreTrainedModel) -> PreTrainedModel:
    """Frozen, with what stayed unquantised in float32, as PEFT advises; activation checkpointing is a flag of ours."""
    return prepare_model_for_kbit_training(model, use_gradient_checkpointing=False)


def bytes_of(model: PreTrainedModel) -> float:
    """Memory of the weights in 4 bits: every Linear but the head, with a float32 scale each 64; the rest in float32."""
    head = model.get_output_embeddings()
    linear = sum(m.weight.numel() for m in model.modules() if isinstance(m, torch.nn.Linear) and m is not head)
    return linear * (0.5 + 4 / 64) + 4 * (sum(p.numel() for p in model.parameters()) - linear)
