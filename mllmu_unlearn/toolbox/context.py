"""What a run hands to a method: all that a method sees beside the sides of a batch."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import nn

from mllmu_unlearn.toolbox.adapter_sites import Lora
from mllmu_unlearn.toolbox.forward import Batch, moved
from mllmu_unlearn.toolbox.samples import Sample


@dataclass(frozen=True)
class Context:
    """What the functions of a method may use that are called once a run.

    model: wrapped by its adapter; bare in `places`, `trainable` and `wrap`, on the meta device when a run is only
    planned. sides: the samples of each side. collate: some samples of a side as one batch.
    modalities: of `image`, `text`, what is trained on. device: where training runs. batch_size: samples of each side
    in a batch. steps_per_epoch: of the optimiser.
    """

    model: nn.Module
    sides: Mapping[str, Sequence[Sample]]
    collate: Callable[[str, Sequence[int]], Batch]
    lora: Lora
    revision: str | None
    modalities: tuple[str, ...]
    seed: int
    device: torch.device
    batch_size: int
    steps_per_epoch: int

    def indices(self, side: str, modality: str | None = None, at_most: int = 0) -> list[int]:
        """Samples of the side (`image` or `text` only, if given) in order; `at_most` of them, evenly spaced."""
        found = [i for i, sample in enumerate(self.sides[side]) if modality in (None, sample.modality)]
        count = min(at_most or len(found), len(found))
        return [found[i * len(found) // count] for i in range(count)]

    def batches(self, side: str, size: int = 4, modality: str | None = None, at_most: int = 0) -> Iterator[Batch]:
        """These samples in batches, on the model's device."""
        device, found = next(self.model.parameters()).device, self.indices(side, modality, at_most)
        shares = (found[start : start + size] for start in range(0, len(found), size))
        return (moved(self.collate(side, share), device) for share in shares)
