"""Which numbers can work, checked before any model is loaded: torch and Trainer would tell in a stack trace, later."""

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, get_args, get_type_hints

from mllmu_tasks.errors import UserError

if TYPE_CHECKING:
    from mllmu_unlearn.methods import Method

AT_LEAST = {
    "learning_rate": 0,
    "weight_decay": 0,
    "max_grad_norm": 0,
    "cache_gb": 0,
    "feature_gb": 0,
    "benchmark_shots": 0,
    "per_device_train_batch_size": 1,
    "gradient_accumulation_steps": 1,
    "lora_alpha": 1,
    "length_step": 1,
    "save_total_limit": 1,
    "num_processes": 1,
    "seed": 0,
    "data_seed": 0,
}
ABOVE = {"num_train_epochs": 0, "logging_steps": 0, "save_steps": 0}


def check_numbers(config: Any) -> None:
    """Raise UserError for a number out of its range, and for what is no number at all."""
    for name in (*AT_LEAST, *ABOVE):
        value = getattr(config, name)
        if value is None:
            continue
        least = AT_LEAST.get(name)
        fits = _is_number(value) and (value >= least if least is not None else value > ABOVE[name])
        if not fits:
            wanted = f"{least} or more" if least is not None else f"above {ABOVE[name]}"
            raise UserError(f"{name} is {value}; it must be a number, {wanted}.")


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
