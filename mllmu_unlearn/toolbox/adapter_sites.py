"""Which modules an adapter sits on, found in the model itself and pinned by one full-match expression.

A bare suffix such as `q_proj` also fits the vision tower; the expression here names the path.
"""

import re
import warnings
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from pathlib import Path

import torch
from peft import LoraConfig, PeftModel, get_peft_model
from torch import nn
from transformers import PreTrainedModel

from mllmu_tasks.errors import UserError, did_you_mean
from mllmu_tasks.models.families import family_of
from mllmu_tasks.models.loading import refuse_adapter

TARGETS = ("language", "projector", "vision", "official")


@dataclass(frozen=True)
class Lora:
    """targets: of `language`, `projector`, `vision`; or `official` alone (what the benchmark's code hits)."""

    r: int = 16
    alpha: int = 16
    dropout: float = 0.05
    targets: tuple[str, ...] = ("language",)
    init: bool | str = True

    def __post_init__(self) -> None:
        for target in self.targets:
            if target not in TARGETS:
                raise UserError(f"unknown lora_target '{target}'.{did_you_mean(target, TARGETS)}")
        if self.r < 1:
            raise UserError(f"lora_r is {self.r}; it must be 1 or more.")
        if not 0 <= self.dropout < 1:
            raise UserError(f"lora_dropout is {self.dropout}; it must be 0 or more and below 1.")


def refuse_adapter_folder(name_or_path: str) -> None:
    """Raise UserError if the base model is an adapter or has one beside it: LoRA on LoRA would lose the first one."""
    refuse_adapter(name_or_path)
    if (Path(name_or_path) / "adapter_config.json").is_file():
        raise UserError(
            f"'{name_or_path}' has an adapter beside its weights; merge the adapter first and train the result: "
            "mllmu export ADAPTER --out MERGED."
        )


def modules(model: PreTrainedModel, targets: Iterable[str]) -> list[str]:
    """Names of the `Linear` modules of these parts, in model order. Raises UserError if a part has none."""
    linear = [name for name, module in model.named_modules() if isinstance(module, nn.Linear)]
    chosen: set[str] = set()
    for target in targets:
        hits = _hits(model, linear, target)
        if not hits:
            raise UserError(f"{type(model).__name__} has no Linear layer in its {target} part; change --lora_target.")
        chosen |= hits
    return [name for name in linear if name in chosen]


def of_part(model: PreTrainedModel, part: str) -> list[str]:
    """`Linear` modules of `language`, of `vision` (tower and, if there is one, projector) or of `both`."""
    names = [] if part == "vision" else modules(model, ["language"])
    if part == "language":
        return names
    linear = [name for name, module in model.named_modules() if isinstance(module, nn.Linear)]
    return names + [n for n in modules(model, ["vision"]) + sorted(_hits(model, linear, "projector")) if n not in names]


def _hits(model: PreTrainedModel, linear: list[str], target: str) -> set[str]:
    decoder = _path(model, model.get_decoder())
    language = {n for n in linear if re.match(rf"{re.escape(decoder)}\.layers\.\d+\.", n)}
    projectors = family_of(model.config.model_type).projectors
    projector = {n for n in linear if any(part in projectors for part in n.split("."))} - language
    if target == "language":
        return language
    if target == "projector":
        return projector
    vision = _path(model, model.get_encoder(modality="image"))
    tower = {n for n in linear if n.startswith(f"{vision}.")} - projector - language
    if target == "vision":
        return tower
    # The official code collects the last names of all Linear modules outside the vision tower and hands them
    # to PEFT, which then also finds them inside it.
    suffixes = {n.rpartition(".")[2] for n in language}
    return language | {n for n in tower if n.rpartition(".")[2] in suffixes}


def _path(model: nn.Module, part: nn.Module) -> str:
    path = next((name for name, module in model.named_modules() if module is part), "")
    if not path:
        raise UserError(f"{type(model).__name__} does not tell its language model and vision tower apart.")
    return path


def pattern(names: Iterable[str]) -> str:
    """One expression whose full matches among module names are these names, layer numbers as `\\d+`."""
    shapes = dict.fromkeys(re.sub(r"(?<=\\.)\d+(?=\\.)", r"\\d+", re.escape(name)) for name in names)
    return "|".join(f"(?:{shape})" for shape in shapes)


def add_lora(model: PreTrainedModel, lora: Lora, revision: str | None = None) -> PeftModel:
    """Wrap the model; only LoRA weights train. Checks that exactly the wanted modules carry them."""
    wanted = modules(model, lora.targets)
    config = LoraConfig(
        r=lora.r,
        lora_alpha=lora.alpha,
        lora_dropout=lora.dropout,
        target_modules=pattern(wanted),
        init_lora_weights=lora.init,
        task_type="CAUSAL_LM",
        revision=revision,
    )
    with warnings.catch_warnings():  # PEFT still asks transformers by an old name
        warnings.filterwarnings("ignore", message="`is_gradient_checkpointing`", category=FutureWarning)
        wrapped = get_peft_model(model, config)
    carrying = {name.removeprefix("base_model.model.") for name in wrapped.targeted_module_names}
    if carrying != set(wanted):
        raise UserError(f"LoRA would sit on {len(carrying)} modules instead of {len(wanted)}: {sorted(carrying)[:3]}")
    return wrapped


def train_only(model: PreTrainedModel, names: Collection[str]) -> PreTrainedModel:
    """The model itself, in which these parameters train. Raises UserError for weights in float16."""
    if model.dtype == torch.float16:
        raise UserError("training weights in float16 does not work; add --dtype bfloat16 or float32.")
    for name, parameter in model.named_parameters():
        parameter.requires_grad_(name in names)
    return model


def trainable_of_lora(model: PreTrainedModel, lora: Lora) -> int:
    """How many numbers `add_lora` would train, from shapes alone (a model on the meta device will do)."""
    return sum(
        lora.r * (module.in_features + module.out_features)
        for module in map(model.get_submodule, modules(model, lora.targets))
    )
