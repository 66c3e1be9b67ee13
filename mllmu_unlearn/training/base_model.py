"""Opening the base model and its processor, with one-sentence errors."""

from pathlib import Path
from typing import TYPE_CHECKING

import torch
from transformers import (
    AutoConfig,
    AutoModelForImageTextToText,
    PreTrainedConfig,
    PreTrainedModel,
    ProcessorMixin,
)

from mllmu_tasks.errors import UserError
from mllmu_tasks.models.families import family_of
from mllmu_tasks.models.image_tokens import watch
from mllmu_tasks.models.loading import open_model, open_processor
from mllmu_unlearn.training import quantized

if TYPE_CHECKING:
    from mllmu_unlearn.config.commands import FinetuneConfig, UnlearnConfig


def load_model(config: "UnlearnConfig | FinetuneConfig", name: str | None = None) -> PreTrainedModel:
    """The base model (or another by name), in the wanted type. Raises UserError if it cannot be opened."""
    name = name or config.model_name_or_path
    model = open_model(
        name,
        f"model '{name}'",
        revision=_revision(config, name),
        dtype=config.dtype,
        attn_implementation=config.attn_implementation,
        trust_remote_code=config.trust_remote_code,
        quantization_config=quantized.settings(config),
    )
    if config.load_in_4bit:
        model = quantized.prepared(model)
    if Path(name).is_dir():
        model.config.name_or_path = str(Path(name).resolve())
    family = family_of(model.config.model_type)
    if family.image_token(model.config) is not None:
        watch(model)
    if family.takes_mixed_rows:
        family.takes_mixed_rows(model)
    return model


def load_processor(config: "UnlearnConfig | FinetuneConfig") -> ProcessorMixin:
    """Raises UserError if the folder has no processor for images and text."""
    name = config.model_name_or_path
    remedy = "copy the processor's files of the published model into its folder"
    return open_processor(name, _revision(config, name), config.trust_remote_code, f"model '{name}'", remedy)


def model_settings(config: "UnlearnConfig | FinetuneConfig") -> PreTrainedConfig:
    """The base model's config.json. Raises UserError if it cannot be opened."""
    name = config.model_name_or_path
    try:
        return AutoConfig.from_pretrained(
            name, revision=_revision(config, name), trust_remote_code=config.trust_remote_code
        )
    except (OSError, ValueError, ImportError) as error:
        raise _cannot_open("model", name, error) from error


def empty_model(config: "UnlearnConfig | FinetuneConfig") -> PreTrainedModel:
    """The model without memory for its weights, to count with."""
    settings = model_settings(config)
    try:
        with torch.device("meta"):
            return AutoModelForImageTextToText.from_config(settings, trust_remote_code=config.trust_remote_code)
    except (OSError, ValueError, ImportError) as error:
        raise _cannot_open("model", config.model_name_or_path, error) from error


def _revision(config: "UnlearnConfig | FinetuneConfig", name: str) -> str:
    return (config.revision if name == config.model_name_or_path else None) or "main"


def _cannot_open(what: str, name: str, error: Exception) -> UserError:
    reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
    return UserError(f"cannot open the {what} '{name}': {reason}")
