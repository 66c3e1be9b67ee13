"""How a run may end before its time: out of memory, a user's error, Ctrl-C, or a loss beyond its bound."""

import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import torch
from safetensors import SafetensorError
from transformers import TrainerCallback

from mllmu_tasks.errors import UserError
from mllmu_unlearn.training.checkpoints import checkpoints, clear, last_kept

NO_MEMORY = (
    "out of memory; lower --per_device_train_batch_size and raise --gradient_accumulation_steps, or add "
    "--gradient_checkpointing, --dtype bfloat16 or --load_in_4bit."
)
NO_ROOM = "weights cannot be written or read ({}); see that the disk has room, and run the same command again."
CPU_ALLOCATOR = "DefaultCPUAllocator"
"""On a CPU torch raises a plain RuntimeError that names this."""


WRITER = ("PytorchStreamWriter", "inline_container.cc")
"""Of torch.save, which raises a plain RuntimeError where a file cannot be written."""


@contextmanager
def explained(work: Path, main: bool = True) -> Iterator[None]:
    """Errors inside become one sentence with the remedy and the checkpoint in `work` that is kept.

    main: whether this process writes. Where there is no checkpoint yet, nothing is left in `work`.
    """
    try:
        with _in_one_sentence(work):
            yield
    except BaseException:
        if main and not checkpoints(work):
            clear(work)
        raise


@contextmanager
def _in_one_sentence(work: Path) -> Iterator[None]:
    try:
        yield
    except UserError as error:
        raise UserError(f"{error}{last_kept(work)}") from error
    except SafetensorError as error:
        raise UserError(f"{NO_ROOM.format(error)}{last_kept(work)}") from error
    except RuntimeError as error:
        if any(word in str(error) for word in WRITER):
            raise UserError(f"{NO_ROOM.format('a file could not be written')}{last_kept(work)}") from error
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
