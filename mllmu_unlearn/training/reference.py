"""What the frozen start model says: the same model, adapter off, or one number an answer, cached once."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from typing import Protocol

import torch
from accelerate.utils import reduce
from torch import nn
from tqdm.auto import tqdm

from mllmu_tasks.errors import UserError
from mllmu_unlearn.config.commands import Config
from mllmu_unlearn.methods import Method
from mllmu_unlearn.toolbox.context import Context
from mllmu_unlearn.toolbox.forward import Batch, forward, frozen, moved
from mllmu_unlearn.toolbox.losses import sequence_logprobs
from mllmu_unlearn.toolbox.side import Reference
from mllmu_unlearn.training import base_model, plan
from mllmu_unlearn.training.hidden_states import Hidden


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


def check(config: Config) -> None:
    """Raise UserError if the flags ask for a reference that the method cannot use."""
    wanted = _wanted(config.chosen, config.protocol == "official")
    if config.reference_model and not wanted:
        raise UserError(f"method '{config.method}' asks no reference; leave out --reference_model.")
    for side, what in wanted.items():
        cached = _is_cached(what, config)
        if config.reference == "cached" and not cached:
            raise UserError(f"method '{config.method}' needs the reference's {what} on {side}; use --reference live.")
        if config.reference_model and not cached:
            raise UserError(f"--reference_model only serves cached log-probabilities, not {config.method}.")


def references(config: Config, context: Context) -> dict[str, ReferenceModel]:
    """Side -> reference: the adapter off, or log-probabilities computed once; of flags that `check` let pass."""
    return {
        side: _cached(side, context, config)
        if _is_cached(what, config)
        else AdapterOff(context.model, what, config.chosen.hidden_layers())
        for side, what in _wanted(config.chosen, config.protocol == "official").items()
    }


def _wanted(method: Method, official: bool) -> dict[str, str]:
    """Side -> what of the reference."""
    return method.official_references() if official else method.references()


def _is_cached(what: str, config: Config) -> bool:
    return what == "logprobs" and (config.reference != "live" or bool(config.reference_model))


def _cached(side: str, context: Context, config: Config) -> Cached:
    # A fresh adapter is zero, so the wrapped model still is the start model.
    reference = base_model.load_model(config, config.reference_model) if config.reference_model else context.model
    reference.to(config.device)
    sizes = plan.sizes(context.sides[side], config.length_step)
    order = sorted(range(len(sizes)), key=sizes.__getitem__)
    shares = batched(order, config.per_device_train_batch_size, config.process_index, config.world_size)
    return cache(
        reference,
        (moved(context.collate(side, share), config.device) for share in shares),
        len(order),
        show=config.process_index == 0 and not config.disable_tqdm,
        total=partial(reduce, reduction="sum") if config.world_size > 1 else lambda mine: mine,
    )
