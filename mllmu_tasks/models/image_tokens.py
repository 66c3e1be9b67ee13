"""Image tokens against image features: each image must have as many of the one as of the other.

The processor writes the tokens and the model makes the features, from two files of settings. Where these disagree,
features would be dropped or go to the next image, and a person would get another person's face. Transformers compares
the sums of a whole batch, and only in its own forward.
"""

import functools
from collections.abc import Iterable, Sequence
from itertools import accumulate, groupby
from typing import Any

import torch
from torch import nn
from transformers import PreTrainedModel

from mllmu_tasks.errors import UserError

RUNS = "image_runs"
"""Of a batch, and of a forward's arguments: the lengths of its runs of image tokens, row after row."""


def runs(ids: Iterable[torch.Tensor], mark: int) -> list[int]:
    """Lengths of the runs of image tokens, row after row. ids: (1, T) each, on the CPU."""
    return [len(list(run)) for row in ids for token, run in groupby(row.flatten().tolist()) if token == mark]


def lengths(features: torch.Tensor | Sequence[torch.Tensor]) -> list[int]:
    """Features of each image (or tile), in order: (images, n, H), or (n, H) each."""
    return [image.shape[:-1].numel() for image in features]


def require_match(tokens: Sequence[int], features: Sequence[int]) -> None:
    """Raise UserError unless the images' features end where runs of tokens end.

    Images without text between them make one run, and tiles of an image may be runs of their own: the ends of one
    are then among the ends of the other.
    """
    written, made = list(accumulate(tokens)), list(accumulate(features))
    if written[-1:] == made[-1:] and (set(written) <= set(made) or set(made) <= set(written)):
        return
    raise UserError(
        f"the processor writes {_sizes(tokens)} tokens for an image and the model makes {_sizes(features)} features of "
        "it; give the processor this model's patch_size, num_additional_image_tokens and "
        "vision_feature_select_strategy (merge_size or image_seq_length in other families) in processor_config.json, "
        "or take the published model's processor."
    )


def _sizes(counts: Sequence[int]) -> str:
    """At most two of the sizes."""
    found = list(dict.fromkeys(counts))
    return f"{' or '.join(map(str, found[:2])) or 'no'}{' or more' if len(found) > 2 else ''}"


def watch(model: PreTrainedModel) -> None:
    """From now on forwards of the model take `image_runs`, and raise UserError where features do not fit these.

    Of a family whose images become tokens. Nothing waits for the device.
    """
    watched = _Watch(model.model)

    def take(module: nn.Module, args: tuple, inputs: dict[str, Any]) -> tuple[tuple, dict[str, Any]]:
        watched.runs = inputs.pop(RUNS, None)
        return args, inputs

    def forget(module: nn.Module, args: tuple, output: Any) -> None:
        watched.runs = None  # features may be asked for outside a forward, too

    model.register_forward_pre_hook(take, with_kwargs=True)
    model.register_forward_hook(forget, always_call=True)


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
