"""Which numbers can work, checked before any model is loaded: torch and Trainer would tell in a stack trace, later."""

import math
from collections.abc import Callable, Mapping
from dataclasses import fields
from typing import TYPE_CHECKING, Any, get_args, get_type_hints

from mllmu_tasks.errors import UserError

if TYPE_CHECKING:
    from mllmu_unlearn.methods import Method

LARGEST_SEED = 2**32 - 1
"""Of NumPy's generator."""
WITHIN = {
    "learning_rate": (0, math.inf),
    "weight_decay": (0, math.inf),
    "max_grad_norm": (0, math.inf),
    "adam_epsilon": (0, math.inf),
    "warmup_steps": (0, math.inf),
    "neftune_noise_alpha": (0, math.inf),
    "cache_gb": (0, math.inf),
    "feature_gb": (0, math.inf),
    "benchmark_shots": (0, math.inf),
    "dataloader_num_workers": (0, math.inf),
    "per_device_train_batch_size": (1, math.inf),
    "gradient_accumulation_steps": (1, math.inf),
    "dataloader_prefetch_factor": (1, math.inf),
    "torch_empty_cache_steps": (1, math.inf),
    "ddp_bucket_cap_mb": (1, math.inf),
    "lora_alpha": (1, math.inf),
    "length_step": (1, math.inf),
    "save_total_limit": (1, math.inf),
    "num_processes": (1, math.inf),
    "ddp_timeout": (1, 10**9),
    "seed": (0, LARGEST_SEED),
    "data_seed": (0, LARGEST_SEED),
}
"""Smallest and largest value."""
ABOVE = {"num_train_epochs": 0, "logging_steps": 0, "save_steps": 0}
BELOW_ONE = ("adam_beta1", "adam_beta2")
WHOLE_FROM_ONE = ("logging_steps", "save_steps", "warmup_steps")
"""Shares of all steps below 1, and steps from 1 on."""


def check_numbers(config: Any) -> None:
    """Raise UserError for a number out of its range, for one that is not finite, and for what is no number at all."""
    for field in fields(config):
        if not _finite(value := getattr(config, field.name)):
            raise UserError(f"--{field.name} is {value}; it must be finite.")
    for name, (least, most) in WITHIN.items():
        upto = "or more" if most == math.inf else f"to {most}"
        _require(config, name, lambda value, least=least, most=most: least <= value <= most, f"{least} {upto}")
    for name, bound in ABOVE.items():
        _require(config, name, lambda value, bound=bound: value > bound, f"above {bound}")
    for name in BELOW_ONE:
        _require(config, name, lambda value: 0 <= value < 1, "0 or more and below 1")
    for name in WHOLE_FROM_ONE:
        _require(config, name, lambda value: value < 1 or float(value).is_integer(), "whole from 1 on")
    _require(config, "max_steps", lambda value: value == -1 or value >= 1, "1 or more (or -1, which is no limit)")


def _require(config: Any, name: str, fits: Callable[[Any], bool], wanted: str) -> None:
    value = getattr(config, name)
    if value is not None and not (_is_number(value) and fits(value)):
        raise UserError(f"{name} is {value}; it must be a number, {wanted}.")


def _finite(value: Any) -> bool:
    """Whether no number in it is NaN or infinite."""
    if isinstance(value, dict | list | tuple):
        return all(map(_finite, value.values() if isinstance(value, dict) else value))
    return not isinstance(value, float) or math.isfinite(value)


def checked_hyper_parameters(kind: "type[Method]", given: Mapping[str, Any]) -> dict[str, Any]:
    """The values in the types of the method's fields. Raises UserError for another type and for nan and inf."""
    types = get_type_hints(kind)  # not field.type: HfArgumentParser writes its own idea of a type there
    return {name: _as(types[name], name, value, kind.name) for name, value in given.items()}


def _as(wanted: Any, name: str, value: Any, method: str) -> Any:
    if type(None) in get_args(wanted):
        if value is None:
            return None
        wanted = next(kind for kind in get_args(wanted) if kind is not type(None))
    wanted = getattr(wanted, "__name__", wanted)
    fits = {
        "float": _is_number(value),
        "int": _is_number(value) and float(value).is_integer(),
        "bool": isinstance(value, bool),
        "str": isinstance(value, str),
    }
    if wanted not in fits:  # a method of the user's own may want what it likes
        return value
    if not fits[wanted]:
        raise UserError(f"{name} of method '{method}' is {value!r}; it must be of type {wanted}.")
    return {"float": float, "int": int}.get(wanted, lambda same: same)(value)


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
