"""Which reference a run gives to which side of a method: the adapter off, or log-probabilities computed once."""

from functools import partial
from typing import TYPE_CHECKING

from accelerate.utils import reduce

from mllmu_tasks.errors import UserError
from mllmu_unlearn.config import plan
from mllmu_unlearn.methods import Method
from mllmu_unlearn.training import base_model
from mllmu_unlearn.training.context import Context
from mllmu_unlearn.training.reference import AdapterOff, Cached, ReferenceModel, batched, cache, moved

if TYPE_CHECKING:
    from mllmu_unlearn.config.commands import FinetuneConfig, UnlearnConfig


def check(config: "UnlearnConfig | FinetuneConfig") -> None:
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


def made_for(method: Method, context: Context, official: bool) -> dict[str, ReferenceModel]:
    """Side -> reference, of flags that `check` let pass."""
    return {
        side: _cached(side, context)
        if _is_cached(what, context.config)
        else AdapterOff(context.model, what, method.hidden_layers())
        for side, what in _wanted(method, official).items()
    }


def _wanted(method: Method, official: bool) -> dict[str, str]:
    """Side -> what of the reference."""
    return method.official_references() if official else method.references()


def _is_cached(what: str, config: "UnlearnConfig | FinetuneConfig") -> bool:
    return what == "logprobs" and (config.reference != "live" or bool(config.reference_model))


def _cached(side: str, context: Context) -> Cached:
    config, rows = context.config, context.rows
    # A fresh adapter is zero, so the wrapped model still is the start model.
    reference = base_model.load_model(config, config.reference_model) if config.reference_model else context.model
    reference.to(config.device)
    sizes = plan.sizes(rows.sides[side], config.length_step)
    order = sorted(range(len(sizes)), key=sizes.__getitem__)
    shares = batched(order, config.per_device_train_batch_size, config.process_index, config.world_size)
    picks = ([(i, rows.row(side, i), False) for i in share] for share in shares)
    return cache(
        reference,
        (moved(context.collator.batch(batch), config.device) for batch in picks),
        len(order),
        show=config.process_index == 0 and not config.disable_tqdm,
        total=partial(reduce, reduction="sum") if config.world_size > 1 else lambda mine: mine,
    )
