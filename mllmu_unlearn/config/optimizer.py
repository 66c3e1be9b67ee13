"""The optimiser and its schedule, made once for one small weight before any model is loaded: what fails, fails here."""

import copy
import math
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from transformers import Trainer, TrainingArguments, get_scheduler
from transformers.trainer_utils import SchedulerType

from mllmu_tasks.errors import LONGEST_VALUE, UserError, escape_line, reason_of

ADAM = {"adam_beta1": 0.9, "adam_beta2": 0.999, "adam_epsilon": 1e-8}
"""Flags that only some optimisers read, with their defaults."""
WITHOUT_WARMUP = (SchedulerType.CONSTANT,)
WITHOUT_ARGUMENTS = (SchedulerType.CONSTANT, SchedulerType.CONSTANT_WITH_WARMUP)
STEPS = 100
"""Of the schedule that is tried where epochs say how long training is."""


def check(config: TrainingArguments, *, own_schedule: bool) -> None:
    """Raise UserError if --optim, --lr_scheduler_type and what belongs to them cannot be made, or do nothing.

    own_schedule: the learning rate follows the official code, not --lr_scheduler_type.
    """
    weight = torch.nn.Parameter(torch.zeros(2, 2))
    named = f"--optim {config.optim.value}" + (f" with --optim_args {config.optim_args}" if config.optim_args else "")
    with _said(named):
        kind, given = Trainer.get_optimizer_cls_and_kwargs(config)
        optimizer = kind([weight], **given)
    _check_read(config, given)
    _check_schedule(config, optimizer, own_schedule)


def _check_read(config: TrainingArguments, given: dict[str, Any]) -> None:
    """Each flag is read if the optimiser's arguments are others without it."""
    for name, default in ADAM.items():
        if getattr(config, name) != default and _arguments(config, **{name: default}) == given:
            raise UserError(f"--optim {config.optim.value} does not read --{name}; leave it out.")
    entries = (config.optim_args or "").replace(" ", "").split(",")
    for entry in filter(None, entries):
        others = ",".join(other for other in entries if other != entry)
        if _arguments(config, optim_args=others) == given:
            key = entry.partition("=")[0]
            raise UserError(f"--optim {config.optim.value} does not read '{key}' of --optim_args; leave it out.")


def _arguments(config: TrainingArguments, **changed: Any) -> dict[str, Any]:
    other = copy.copy(config)
    for name, value in changed.items():
        setattr(other, name, value)
    return Trainer.get_optimizer_cls_and_kwargs(other)[1]


def _check_schedule(config: TrainingArguments, optimizer: torch.optim.Optimizer, own_schedule: bool) -> None:
    kind = config.lr_scheduler_type
    given = {"warmup_steps": config.warmup_steps, "lr_scheduler_kwargs": config.lr_scheduler_kwargs}
    if own_schedule and (kind != SchedulerType.LINEAR or any(given.values())):
        raise UserError("--protocol official has its own learning rate schedule; leave out --lr_scheduler_type.")
    for name, without in (("warmup_steps", WITHOUT_WARMUP), ("lr_scheduler_kwargs", WITHOUT_ARGUMENTS)):
        if given[name] and kind in without:
            raise UserError(f"--lr_scheduler_type {kind.value} does not read --{name}; leave one of them out.")
    steps = config.max_steps if config.max_steps > 0 else STEPS
    named = f"--lr_scheduler_type {kind.value}"
    named += f" with --lr_scheduler_kwargs {config.lr_scheduler_kwargs}" if config.lr_scheduler_kwargs else ""
    with _said(named):
        schedule = get_scheduler(
            kind,
            optimizer,
            num_warmup_steps=config.get_warmup_steps(steps),
            num_training_steps=steps,
            scheduler_specific_kwargs=config.lr_scheduler_kwargs,
        )
        rates = [rate(step) for rate in schedule.lr_lambdas for step in (0, 1, steps // 2, steps - 1)]
        if not all(math.isfinite(rate) for rate in rates):
            raise ValueError("a learning rate is not finite")


@contextmanager
def _said(named: str) -> Iterator[None]:
    """Whatever is raised inside becomes one sentence: libraries raise what they like for a bad argument."""
    try:
        yield
    except Exception as error:
        reason = reason_of(error).rstrip(".")
        raise UserError(f"{escape_line(named, 2 * LONGEST_VALUE)} cannot be used: {reason}.") from error
