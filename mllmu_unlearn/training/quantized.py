"""QLoRA: the base model in 4 bits (bitsandbytes), LoRA on top in float32. Flags are spelt as in TRL."""

from importlib.util import find_spec
from typing import TYPE_CHECKING

import torch
from peft import prepare_model_for_kbit_training
from transformers import BitsAndBytesConfig, PreTrainedModel

from mllmu_tasks.errors import UserError, did_you_mean

if TYPE_CHECKING:
    from mllmu_unlearn.config.commands import FinetuneConfig, UnlearnConfig

TYPES = ("nf4", "fp4")


def check(config: "UnlearnConfig | FinetuneConfig") -> None:
    """Raises UserError if 4-bit loading is asked for and cannot work."""
    if config.bnb_4bit_quant_type not in TYPES:
        raise UserError(
            f"bnb_4bit_quant_type '{config.bnb_4bit_quant_type}' is unknown."
            f"{did_you_mean(config.bnb_4bit_quant_type, TYPES)}"
        )
    if not config.load_in_4bit:
        return
    if config.kind != "lora":
        raise UserError(f"--load_in_4bit trains LoRA only, and the result here is of kind '{config.kind}'.")
    if find_spec("bitsandbytes") is None:
        raise UserError("--load_in_4bit needs bitsandbytes: pip install 'mllmu[quantized]'.")


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
