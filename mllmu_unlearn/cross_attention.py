"""Mllama: rows without an image in one batch with rows that have one, each as if it were alone.

Mllama skips its cross attention layers in a batch without images. In a batch with images, a row whose
`cross_attention_mask` is all zero still gets the mean of the image values added: Transformers masks the layer's MLP
there, but not its attention. Such rows are given image states of zeros here. The attention has no bias, so zeros come
out, whatever an adapter adds, and no gradient goes back; and the vision tower need not see stand-ins for images.
"""

from typing import Any

from torch import nn
from transformers import PreTrainedModel

MODEL_TYPE = "mllama"


def mix_rows(model: PreTrainedModel) -> PreTrainedModel:
    """The model, which from now on takes batches that hold images for some of their rows only, in order."""
    if model.config.model_type == MODEL_TYPE:
        model.model.language_model.register_forward_pre_hook(_spread, with_kwargs=True)
    return model


def _spread(module: nn.Module, args: tuple, inputs: dict[str, Any]) -> tuple[tuple, dict[str, Any]] | None:
    """States of the rows with images -> states of all rows, (B, S, H), zeros where a row has none."""
    states, mask = inputs["cross_attention_states"], inputs["cross_attention_mask"]
    if states is None or mask is None:
        return None
    shown = inputs["full_text_row_masked_out_mask"].flatten(1).any(1)
    having = states.reshape(-1, mask.shape[-1], states.shape[-1])
    place = (shown.cumsum(0) - 1).clamp(min=0)
    return args, inputs | {"cross_attention_states": having[place].masked_fill(~shown[:, None, None], 0.0)}
