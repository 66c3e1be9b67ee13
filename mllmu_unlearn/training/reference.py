"""What the frozen start model says: the same model, adapter off, or one number an answer, cached once."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, Protocol

import torch
from torch import nn
from tqdm.auto import tqdm

from mllmu_unlearn.training.hidden_states import Hidden
from mllmu_unlearn.training.losses import sequence_logprobs
from mllmu_unlearn.training.side import Reference

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


class ReferenceModel(Protocol):
    def __call__(self, batch: Batch) -> Reference: ...


class AdapterOff:
    """The start model by a second forward with the adapter disabled; no second copy of the weights.

    wanted: `logits`, `logprobs` or `hidden`, the outputs of `layers`.
    """

    def __init__(self, model: nn.Module, wanted: str, layers: Sequence[str] = ()) -> None:
        self.model = model
        self.wanted = wanted
        self.hidden = Hidden(model, layers)

    def __call__(self, batch: Batch) -> Reference:
        with frozen(self.model), self.model.disable_adapter(), self.hidden.catch(batch["keep"]) as hidden:
            logits = forward(self.model, batch)
        if self.wanted == "hidden":
            return Reference(hidden=hidden)
        if self.wanted == "logits":
            return Reference(logits=logits)
        return Reference(logprobs=sequence_logprobs(logits, batch["labels"]))


class Cached:
    """Log-probability of each whole answer, by the index of its sample."""

    def __init__(self, logprobs: torch.Tensor) -> None:
        self.logprobs = logprobs

    def __call__(self, batch: Batch) -> Reference:
        self.logprobs = self.logprobs.to(batch["index"].device)
        return Reference(logprobs=self.logprobs[batch["index"]])


def cache(
    model: nn.Module,
    batches: Iterable[Batch],
    size: int,
    *,
    show: bool = True,
    total: Callable[[torch.Tensor], torch.Tensor] = lambda mine: mine,
) -> Cached:
    """Run the model once over all `size` samples of a side; `batches` yields them in any order.

    total: sums over processes, each of which runs a part of the batches.
    """
    logprobs = torch.zeros(size, device=next(model.parameters()).device)
    with frozen(model), tqdm(total=size, desc="reference", disable=not show, unit="answer") as bar:
        for batch in batches:
            found = sequence_logprobs(forward(model, batch), batch["labels"])
            logprobs = logprobs.to(found.dtype).index_copy(0, batch["index"], found)
            bar.update(len(found))
    return Cached(total(logprobs))


def batched(order: Sequence[int], size: int, rank: int = 0, world: int = 1) -> Iterator[Sequence[int]]:
    """The entries of `order` in batches of at most `size`; of several processes, the share of this one."""
    return (order[start : start + size] for start in range(rank * size, len(order), world * size))
