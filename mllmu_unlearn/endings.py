"""How a run may end before its time: out of memory, a user's error, Ctrl-C, or a loss beyond its bound."""

import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import torch
from transformers import TrainerCallback

from mllmu_tasks.errors import UserError
from mllmu_unlearn.resume import last_kept

NO_MEMORY = (
    "out of memory; lower --per_device_train_batch_size and raise --gradient_accumulation_steps, or add "
    "--gradient_checkpointing, --dtype bfloat16 or --load_in_4bit."
)
CPU_ALLOCATOR = "DefaultCPUAllocator"
"""On a CPU torch raises a plain RuntimeError that names this."""


@contextmanager
def explained(work: Path) -> Iterator[None]:
    """Errors inside become one sentence with the remedy and the checkpoint in `work` that is kept."""
    try:
        yield
    except UserError as error:
        raise UserError(f"{error}{last_kept(work)}") from error
    except RuntimeError as error:
        if not isinstance(error, torch.OutOfMemoryError) and CPU_ALLOCATOR not in str(error):
            raise
        raise UserError(NO_MEMORY + last_kept(work)) from error
    except KeyboardInterrupt:
        print(f"\nmllmu: stopped.{last_kept(work) or ' No checkpoint yet.'}", file=sys.stderr)
        raise


class Bounds(TrainerCallback):
    """Ends training once the mean loss of a side's answers, taken since the last log, is above its bound.

    bounds: side -> nats per answer token. reason: why it ended, empty if it did not.
    Logs at every checkpoint, so that a resumed run averages over the same steps.
    """

    def __init__(self, bounds: Mapping[str, float]) -> None:
        self.bounds = dict(bounds)
        self.reason = ""

    def on_step_end(self, args, state, control, **kwargs) -> None:
        control.should_log |= control.should_save

    on_epoch_end = on_step_end

    def on_log(self, args, state, control, logs=None, **kwargs) -> None:
        for side, bound in self.bounds.items():
            loss = logs.get(f"loss_nll_{side}")
            if loss is not None and loss > bound:
                self.reason = f"{side} loss {loss:.3f} above {bound:g} at step {state.global_step}"
                control.should_training_stop = True
