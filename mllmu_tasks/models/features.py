"""Image features: what a tower and projector that nobody trains say of an image never changes, so once is enough."""

from collections.abc import Callable, Hashable, Iterable, Sequence
from dataclasses import dataclass, field

import torch

GIB = 2**30

Features = tuple[torch.Tensor, ...]
"""Of one image: (tokens, H) each, of the tower's end first, then of its middle where a decoder takes these, too."""


@dataclass
class FeatureCache:
    """The features of the first images that fit. room: bytes that are left.

    A full cache keeps what it has: every leaf shows the same people in the same order, which defeats the usual
    throwing out of what was used longest ago.
    """

    room: int
    kept: dict[Hashable, Features] = field(default_factory=dict)

    def take(
        self, images: Sequence[Hashable], encode: Callable[[Sequence[int]], Iterable[Features]]
    ) -> tuple[list[Features], int]:
        """(the features of each image, how many images were encoded for that).

        images: what identifies each. encode: places of distinct images -> their features.
        """
        missing = {image: place for place, image in enumerate(images) if image not in self.kept}
        made = dict(zip(missing, encode(list(missing.values())), strict=True)) if missing else {}
        found = [made.get(image) or self.kept[image] for image in images]
        for image, features in made.items():
            size = sum(tensor.nbytes for tensor in features)
            if size <= self.room:
                self.room -= size
                self.kept[image] = tuple(tensor.clone() for tensor in features)  # a view would keep its whole batch
        return found, len(missing)
