"""In training too, each image has as many tokens as features: checked in every forward, without asking the device."""

import functools
from collections.abc import Sequence
from typing import Any

from torch import nn
from transformers import PreTrainedModel

from mllmu_tasks.models.features import LAYOUTS
from mllmu_tasks.models.image_tokens import lengths, require_match

RUNS = "image_runs"
"""Of a batch, and of a forward's arguments: the lengths of its runs of image tokens, row after row."""


def mark(model: PreTrainedModel) -> int | None:
    """The image token, where images become runs of it; None of a model that looks at images in another way."""
    return model.config.image_token_id if model.config.model_type in LAYOUTS else None


def watch(model: PreTrainedModel) -> PreTrainedModel:
    """The model, whose forwards take `image_runs` from now on, and raise UserError where they do not fit."""
    if mark(model) is None:
        return model
    watched = _Watch(model.model)

    def take(module: nn.Module, args: tuple, inputs: dict[str, Any]) -> tuple[tuple, dict[str, Any]]:
        watched.runs = inputs.pop(RUNS, None)
        return args, inputs

    def forget(module: nn.Module, args: tuple, output: Any) -> None:
        watched.runs = None  # features may be asked for outside a forward, too

    model.register_forward_pre_hook(take, with_kwargs=True)
    model.register_forward_hook(forget, always_call=True)
    return model


class _Watch:
    """Looks at what the model's `get_image_features` makes. runs: of the forward that goes on."""

    def __init__(self, inner: nn.Module) -> None:
        self.runs: Sequence[int] | None = None
        original = inner.get_image_features

        @functools.wraps(original)
        def features(*args: Any, **kwargs: Any) -> Any:
            output = original(*args, **kwargs)
            if self.runs is not None:
                require_match(self.runs, lengths(output.pooler_output))
            return output

        inner.get_image_features = features
