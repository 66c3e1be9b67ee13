"""Each distinct image goes through the vision tower and the projector once in a run.

The engine says which images the next batch shows (`show`), and what stands in for the model's `get_image_features`
takes their features from the cache and encodes only what is missing. Where adapters touch neither tower nor
projector, one cache serves them all.
"""

import functools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch

from mllmu_tasks.artifacts.identity import digest
from mllmu_tasks.models.engine.batching import Row, pad
from mllmu_tasks.models.engine.counts import Counts
from mllmu_tasks.models.image_tokens import require_match, runs

# How images lie in the processor's tensors: one a row (with its tiles), runs of patches by grid, or tiles of a prompt.
LAYOUTS = {
    **dict.fromkeys(("llava", "llava_next", "llava_onevision", "internvl", "gemma3", "paligemma"), "rows"),
    **dict.fromkeys(("qwen2_vl", "qwen2_5_vl", "qwen3_vl"), "grid"),
    **dict.fromkeys(("idefics2", "idefics3"), "tiles"),
}
INPUTS = ("pixel_values", "image_sizes", "image_grid_thw", "pixel_attention_mask", "batch_num_images")
AT_ONCE = 32  # images a pass of the tower
GIB = 2**30


@dataclass(frozen=True)
class Piece:
    """An image (or a tile, where the processor cuts images into tiles of their own), as the tower takes it.

    key: of its content. inputs: tensors (1, ...), None if its features are known already. alone: it is the only
    image of its prompt, which some models cut into tiles then.
    """

    key: str
    inputs: Row | None
    alone: bool = True


@dataclass
class FeatureCache:
    """Features by content, each a tuple of tensors. limit: bytes. kind: what the model puts them in; stacked: as one
    tensor, else as a list.

    A full cache keeps what it has: every leaf shows the same people in the same order, which defeats the usual
    throwing out of what was used longest ago.
    """

    limit: int
    kept: dict[str, tuple[torch.Tensor, ...]] = field(default_factory=dict)
    size: int = 0
    kind: type | None = None
    stacked: bool = False

    def put(self, key: str, features: tuple[torch.Tensor, ...]) -> None:
        size = sum(tensor.nbytes for tensor in features)
        if self.size + size <= self.limit:
            self.kept[key] = tuple(tensor.clone() for tensor in features)  # a view would keep its whole batch
            self.size += size


class Vision:
    """Of one model. `caches` is false for architectures whose image inputs we do not know: they encode as always."""

    def __init__(self, model: Any, counts: Counts, cache: FeatureCache) -> None:
        self.layout = LAYOUTS.get(model.config.model_type)
        self.caches = self.layout is not None
        self.counts, self.cache = counts, cache
        self.expected: Sequence[Piece] | None = None
        self.tokens: Sequence[int] = ()
        if self.caches:
            self.inner, self.mark = model.model, model.config.image_token_id
            self.original = original = type(self.inner).get_image_features.__get__(self.inner)

            @functools.wraps(original)  # `generate` looks at its signature
            def features(*args: Any, **kwargs: Any) -> Any:
                return self._features(*args, **kwargs)

            self.inner.get_image_features = features

    def pieces(self, row: Row) -> list[Piece]:
        """Of one prompt's tensors, as the processor made them, in order."""
        if "pixel_values" not in row:
            return []
        parts = getattr(self, f"_{self.layout}")(row)
        alone = int(row["batch_num_images"][0]) == 1 if "batch_num_images" in row else True
        return [Piece(content_key(part, alone), part, alone) for part in parts]

    def _rows(self, row: Row) -> list[Row]:
        named = [name for name in ("pixel_values", "image_sizes") if name in row]
        return [{name: row[name][n : n + 1] for name in named} for n in range(row["pixel_values"].shape[0])]

    def _grid(self, row: Row) -> list[Row]:
        grids = row["image_grid_thw"]
        parts = row["pixel_values"].split(grids.prod(-1).tolist())
        return [{"pixel_values": part, "image_grid_thw": grids[n : n + 1]} for n, part in enumerate(parts)]

    def _tiles(self, row: Row) -> list[Row]:
        named = [name for name in ("pixel_values", "pixel_attention_mask") if name in row]
        return [{name: row[name][:, n : n + 1] for name in named} for n in range(row["pixel_values"].shape[1])]

    def show(self, pieces: Sequence[Piece], ids: Sequence[torch.Tensor]) -> Row:
        """Announce the images of the next forward, in order, and return what stands for their pixels in its call.

        ids: of its rows, (1, T) each, on the CPU. The forward raises UserError where an image has more or fewer
        tokens than features. Without such an announcement a forward encodes the pixels that it brings, and nothing
        is kept.
        """
        self.expected = pieces or None
        self.tokens = runs(ids, self.mark) if pieces else ()
        return {"pixel_values": torch.zeros(len(pieces), 1, device=self.inner.device)} if pieces else {}

    def _features(self, *args: Any, **kwargs: Any) -> Any:
        """In place of the model's `get_image_features`; same output, whatever its pixels are."""
        if self.expected is None:
            return self.original(*args, **kwargs)
        pieces, self.expected = self.expected, None
        passed = {name: value for name, value in kwargs.items() if name not in INPUTS}
        found = {piece.key: self.cache.kept[piece.key] for piece in pieces if piece.key in self.cache.kept}
        missing = list({piece.key: piece for piece in pieces if piece.key not in found}.values())
        for alone in (True, False):
            same = [piece for piece in missing if piece.alone is alone]
            for start in range(0, len(same), AT_ONCE):
                found |= self._encode(same[start : start + AT_ONCE], passed)
        self.counts.images_encoded += len(missing)
        self.counts.images_reused += len(pieces) - len(missing)
        shown = [found[piece.key] for piece in pieces]
        require_match(self.tokens, [tensors[0].shape[:-1].numel() for tensors in shown])
        return self._output(shown)

    def _encode(self, pieces: Sequence[Piece], passed: Mapping[str, Any]) -> dict[str, tuple[torch.Tensor, ...]]:
        parts = [piece.inputs for piece in pieces]
        if not pieces[0].alone and len(parts) == 1:
            parts = parts * 2  # one image of several: the model knows that only by their number
        inputs = join(parts, 1 if self.layout == "tiles" else 0)
        if self.inner.config.model_type == "llava_onevision":
            counts = [1] * len(parts) if pieces[0].alone else [len(parts)]
            inputs["batch_num_images"] = torch.tensor(counts)
        device, dtype = self.inner.device, self.inner.dtype
        inputs = {k: v.to(device, dtype) if v.is_floating_point() else v.to(device) for k, v in inputs.items()}
        output = self.original(**inputs, **passed)
        self.cache.kind, self.cache.stacked = type(output), isinstance(output.pooler_output, torch.Tensor)
        features = output.pooler_output
        if self.layout == "tiles":
            features = features[0].view(len(parts), -1, features[0].shape[-1])
        deep = output.get("deepstack_features") or ()
        made = {piece.key: (features[n], *(layer[n] for layer in deep)) for n, piece in enumerate(pieces)}
        for key, tensors in made.items():
            self.cache.put(key, tensors)
        return made

    def _output(self, features: Sequence[tuple[torch.Tensor, ...]]) -> Any:
        first = [tensors[0] for tensors in features]
        deep = [list(layer) for layer in zip(*(tensors[1:] for tensors in features), strict=True)]
        more = {"deepstack_features": deep} if deep else {}
        return self.cache.kind(pooler_output=torch.stack(first) if self.cache.stacked else first, **more)


def content_key(part: Row, alone: bool) -> str:
    """Digest of an image's tensors."""
    return digest([str(alone), *(tensor.contiguous().numpy().tobytes() for _, tensor in sorted(part.items()))])


def join(parts: Sequence[Row], axis: int) -> Row:
    """One call's tensors from those of several images; smaller ones are filled up with zeros at their end."""
    joined = {}
    for name in parts[0]:
        tensors = [part[name] for part in parts]
        for other in range(tensors[0].ndim):
            if other != axis:
                longest = max(tensor.shape[other] for tensor in tensors)
                tensors = [pad(tensor, other, longest, 0, "right") for tensor in tensors]
        joined[name] = torch.cat(tensors, dim=axis)
    return joined
