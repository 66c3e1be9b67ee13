"""A batch through a model: logits where answers are scored."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from torch import nn

Batch = Mapping[str, Any]


def forward(model: nn.Module, batch: Batch) -> torch.Tensor:
    """Logits (B, K, V) aligned with batch["labels"]; every processor tensor goes to the model as it is."""
    inputs = {key: value for key, value in batch.items() if key not in ("labels", "keep", "index", "padding")}
    return model(**inputs, logits_to_keep=batch["keep"]).logits


@contextmanager
def frozen(model: nn.Module) -> Iterator[None]:
    """No gradient and no dropout inside."""
    training = model.training
    model.eval()
    try:
        with torch.no_grad():
            yield
    finally:
        model.train(training)


def moved(batch: Batch, device: torch.device) -> dict[str, Any]:
    """The batch with its tensors on the device, without waiting for the copies."""
    return {k: v.to(device, non_blocking=True) if isinstance(v, torch.Tensor) else v for k, v in batch.items()}
