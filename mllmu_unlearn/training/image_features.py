"""Image features of a frozen vision tower: each distinct image is encoded once a run, as long as they fit.

What a frozen tower and projector say of an image never changes, whether an adapter is on or off, so one forward
serves every question about the image, every epoch and the reference. For the LLaVA family the features go into the
embeddings here, as the model itself would put them; other models compute them in every forward.
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from accelerate.utils import parse_flag_from_env
from peft import PeftModel
from torch import nn

from mllmu_tasks.models.families import family_of
from mllmu_tasks.models.features import GIB, FeatureCache, Features
from mllmu_tasks.models.image_tokens import RUNS, lengths, require_match, runs
from mllmu_unlearn.training.hidden_states import Hidden
from mllmu_unlearn.training.samples import Rows


def why_plain(model: nn.Module, hidden_layers: Sequence[str] = ()) -> str | None:
    """Why the features must be computed in every forward, or None. model: wrapped by its adapter, or bare."""
    bare = _bare(model)
    family = family_of(bare.config.model_type)
    if not family.embeds:
        return f"{bare.config.model_type} is not of the LLaVA family"
    inner = bare.model
    seeing = {"vision_tower": bare.get_encoder(modality="image")}
    seeing |= {name: getattr(inner, name) for name in family.projectors}
    named = seeing | {"embeddings": inner.get_input_embeddings()}
    for name, part in named.items():
        if any(parameter.requires_grad for parameter in part.parameters()):
            return f"the {name} is trained"
        if any(isinstance(module, nn.Dropout) and module.p for module in part.modules()):
            return f"the {name} has dropout"
    if getattr(bare.config.vision_config, "attention_dropout", 0):
        return "the vision_tower has dropout"
    watched = set(Hidden(model, hidden_layers).modules.values())
    if watched & {module for part in seeing.values() for module in part.modules()}:
        return "the loss looks into it"
    return None


def make(
    model: nn.Module, hidden_layers: Sequence[str], limit: int, *, right_padded: bool, show: bool
) -> "ImageFeatures | None":
    """The features of a model that can keep them, else None; says which."""
    why = why_plain(model, hidden_layers)
    if any(map(parse_flag_from_env, ("ACCELERATE_USE_FSDP", "ACCELERATE_USE_DEEPSPEED"))):
        why = why or "the model is spread over processes"
    if show:
        once = f"computed once for each image, up to {limit / GIB:.1f} GiB are kept"
        print(f"mllmu: image features are {f'computed in every forward: {why}' if why else once}")
    return None if why else ImageFeatures(model, limit, right_padded=right_padded)


class ImageFeatures:
    """Features by the number of their image in `Rows`, on the model's device, the first ones that fit `limit` bytes.

    right_padded: padding stands at the end and nobody looks at its logits. Then the causal mask alone is enough, and
    the model gets no padding mask, which it would read back from the device in every forward.
    encoded, reused: how many images went through the tower, and how many did not have to.
    """

    def __init__(self, model: nn.Module, limit: int, *, right_padded: bool = True) -> None:
        self.model = model
        self.inner = _bare(model).model
        self.image_token = _bare(model).config.image_token_id
        self.right_padded = right_padded
        self.cache = FeatureCache(limit)
        self.encoded = 0
        self.reused = 0

    @contextmanager
    def used(self, rows: Rows) -> Iterator[None]:
        """Inside, forwards of the model take batches whose rows come from `rows`."""
        rows.numbered = True
        # first of all hooks: those that look at the counts of a whole batch must not see its fresh images alone
        handle = self.model.register_forward_pre_hook(self._embed, with_kwargs=True, prepend=True)
        try:
            yield
        finally:
            handle.remove()
            rows.numbered = False

    def _embed(self, module: nn.Module, args: tuple, inputs: dict[str, Any]) -> tuple[tuple, dict[str, Any]]:
        """Token ids and pixels -> embeddings."""
        images, ids, tokens = inputs.pop("images"), inputs.pop("input_ids"), inputs.pop(RUNS, None)
        pixels = {name: inputs.pop(name) for name in ("pixel_values", "image_sizes") if name in inputs}
        if self.right_padded:
            inputs.pop("attention_mask")
        embedded = self.inner.get_input_embeddings()(ids)
        if images:
            features = self._of(images, pixels)
            if tokens is None:  # the collator counts them where that need not wait for the device
                tokens = runs(ids.cpu().split(1), self.image_token)
            require_match(tokens, lengths(features))
            mark = (ids == self.image_token).unsqueeze(-1)
            embedded = embedded.masked_scatter(mark, torch.cat(features).to(embedded))
        return args, inputs | {"inputs_embeds": embedded}

    def _of(self, images: Sequence[int], pixels: Mapping[str, torch.Tensor]) -> list[torch.Tensor]:
        """The features of each image, (tokens, H). images: their numbers, aligned with the rows of `pixels`."""

        def encode(places: Sequence[int]) -> list[Features]:
            # Slices, not an index: a list of places would have to be copied to the device first.
            part = {name: torch.cat([t[p : p + 1] for p in places]) for name, t in pixels.items()}
            with torch.no_grad():
                made = self.inner.get_image_features(**part, return_dict=True).pooler_output
            return [(features,) for features in made]

        found, encoded = self.cache.take(images, encode)
        self.encoded += encoded
        self.reused += len(images) - encoded
        return [features for (features,) in found]


def _bare(model: nn.Module) -> nn.Module:
    return model.get_base_model() if isinstance(model, PeftModel) else model
