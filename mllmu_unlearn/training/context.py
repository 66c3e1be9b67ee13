"""What a run hands to the once-a-run functions of a method."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from torch import nn

from mllmu_unlearn.training.collator import Collator
from mllmu_unlearn.training.reference import Batch, moved
from mllmu_unlearn.training.samples import Rows

if TYPE_CHECKING:
    from mllmu_unlearn.config.commands import FinetuneConfig, UnlearnConfig


@dataclass(frozen=True)
class Context:
    """What the once-a-run functions of a method may use.

    model: wrapped by its adapter, and bare in `wrap`. steps_per_epoch: of the optimiser.
    """

    model: nn.Module
    rows: Rows
    collator: Collator
    config: "UnlearnConfig | FinetuneConfig"
    steps_per_epoch: int = 0

    def indices(self, side: str, modality: str | None = None, at_most: int = 0) -> list[int]:
        """Samples of the side (`image` or `text` only, if given) in order; `at_most` of them, evenly spaced."""
        samples = self.rows.sides[side]
        found = [i for i, sample in enumerate(samples) if modality in (None, sample.modality)]
        count = min(at_most or len(found), len(found))
        return [found[i * len(found) // count] for i in range(count)]

    def batches(self, side: str, size: int = 4, modality: str | None = None, at_most: int = 0) -> Iterator[Batch]:
        """These samples in batches, on the model's device."""
        device, found = next(self.model.parameters()).device, self.indices(side, modality, at_most)
        for start in range(0, len(found), size):
            indices = found[start : start + size]
            batch = self.collator.batch([(i, self.rows.row(side, i), False) for i in indices])
            yield moved(batch, device)
