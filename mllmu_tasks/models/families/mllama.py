"""Mllama: images come by cross attention. Rows with and without images, or with unequally many, go in one batch, each
as if it were alone.

Mllama skips its cross attention layers in a batch without images. In a batch with images, a row whose
`cross_attention_mask` is all zero still gets the mean of the image values added: Transformers masks the layer's MLP
there, but not its attention. Such rows are given image states of zeros here. The attention has no bias, so zeros come
out, whatever an adapter adds, and no gradient goes back; and the vision tower need not see stand-ins for images.
For the same reason tokens before a row's first image see all images of the row, and must not see its padding.
"""

from functools import partial
from typing import Any

import torch
from torch import nn
from transformers import PreTrainedModel

from mllmu_tasks.models.families.base import Family


def mix_rows(model: PreTrainedModel) -> None:
    """From now on the model takes batches whose pixels are those of the rows with images, in order."""
    spread = partial(_spread, tiles=model.config.vision_config.max_num_tiles)
    model.model.language_model.register_forward_pre_hook(spread, with_kwargs=True)


def _spread(
    module: nn.Module, args: tuple, inputs: dict[str, Any], *, tiles: int
) -> tuple[tuple, dict[str, Any]] | None:
    """States of the rows with images -> states of all rows, (B, S, H), zeros where a row has none.

    S: the patches of all tiles of as many images as any row has.
    """
    states, mask = inputs["cross_attention_states"], inputs["cross_attention_mask"]  # (.., patches, H), (B, 1, T, S)
    if states is None or mask is None:
        return None
    sees = inputs["full_text_row_masked_out_mask"].bool()  # (B, 1, T, 1): the tokens that see any image
    shown = sees.flatten(1).any(1)
    having = states.reshape(-1, mask.shape[-1], states.shape[-1])
    place = (shown.cumsum(0) - 1).clamp(min=0)
    image = tiles * states.shape[-2]
    real = ((mask == 0) & sees).any(2, keepdim=True).unflatten(-1, (-1, image)).any(-1)
    return args, inputs | {
        "cross_attention_states": having[place].masked_fill(~shown[:, None, None], 0.0),
        "cross_attention_mask": mask.masked_fill(~real.repeat_interleave(image, -1), torch.finfo(mask.dtype).min),
    }


FAMILIES = {"mllama": Family(takes_mixed_rows=mix_rows, projectors=("multi_modal_projector",))}
