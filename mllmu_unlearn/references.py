"""Which reference a run gives to which side of a method: the adapter off, or log-probabilities computed once."""

from functools import partial

from accelerate.utils import reduce

from mllmu_tasks.errors import UserError
from mllmu_unlearn import models, plan
from mllmu_unlearn.context import Context
from mllmu_unlearn.methods import Method
from mllmu_unlearn.reference import AdapterOff, Cached, ReferenceModel, batched, cache, moved


def made_for(method: Method, context: Context, official: bool) -> dict[str, ReferenceModel]:
    """Side -> reference. Raises UserError if the flags ask for one that the method cannot use."""
    config = context.config
    wanted = method.official_references() if official else method.references()
    made: dict[str, ReferenceModel] = {}
    for side, what in wanted.items():
        cached = what == "logprobs" and (config.reference != "live" or config.reference_model)
        if config.reference == "cached" and not cached:
            raise UserError(f"method '{config.method}' needs the reference's {what} on {side}; use --reference live.")
        if config.reference_model and not cached:
            raise UserError(f"--reference_model only serves cached log-probabilities, not {config.method}.")
        made[side] = _cached(side, context) if cached else AdapterOff(context.model, what, method.hidden_layers())
    return made


def _cached(side: str, context: Context) -> Cached:
    config, rows = context.config, context.rows
    # A fresh adapter is zero, so the wrapped model still is the start model.
    reference = models.load_model(config, config.reference_model) if config.reference_model else context.model
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
