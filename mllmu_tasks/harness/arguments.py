"""The arguments of `mllmu_hf`: which there are, and what they may be."""

from collections.abc import Mapping
from typing import Any

from mllmu_tasks.errors import UserError, did_you_mean, escape_line, quoted
from mllmu_tasks.harness.rendering import STYLES
from mllmu_tasks.models.engine.scheduling import AUTO
from mllmu_tasks.models.features import GIB
from mllmu_tasks.models.loading import DTYPES

ARGUMENTS = (
    *("pretrained", "processor", "peft", "base", "revision", "dtype", "device", "device_map", "attn_implementation"),
    *("prompt_style", "system_prompt", "trust_remote_code", "whole_answers", "feature_cache", "batch_size"),
)


def check_arguments(pretrained: str, dtype: str, style: str, batch_size: int | str, unknown: Mapping[str, Any]) -> None:
    """Raises UserError for what cannot be."""
    for name in unknown:
        raise UserError(f"mllmu_hf has no argument {quoted(name)}.{did_you_mean(name, ARGUMENTS)}")
    if not pretrained:
        raise UserError("mllmu_hf needs pretrained=<folder or hub id> in --model_args.")
    for name, value, known in (("dtype", dtype, DTYPES), ("prompt_style", style, STYLES)):
        if value not in known:
            raise UserError(f"{name}={escape_line(str(value))} is not known.{did_you_mean(str(value), known)}")
    if batch_size != AUTO and not (str(batch_size)[:10].isdecimal() and 1 <= int(str(batch_size)[:10]) < 10**9):
        short = escape_line(str(batch_size))
        raise UserError(f"--batch_size {short} is neither a whole number of 1 or more nor {AUTO}.")


def truth(name: str, value: bool | str) -> bool:
    """Of an argument that comes as text."""
    if str(value).lower() not in ("true", "false"):
        raise UserError(f"{name}={escape_line(str(value))} is neither true nor false.")
    return str(value).lower() == "true"


def gib(name: str, value: float | str) -> int:
    """Bytes of so many GiB."""
    try:
        return int(float(value) * GIB)
    except (ValueError, OverflowError) as error:
        raise UserError(f"{name}={escape_line(str(value))} is not a number of GiB.") from error
