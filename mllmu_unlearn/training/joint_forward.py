"""One loss of several forwards, one a side, in data parallel processes.

DDP asks the last forward alone which weights it used, and takes all others for ready; a weight that only an earlier
forward used (of an image tower, say, if the last side's batch is all text) then is ready twice, which is an error.
"""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import nn
from transformers.utils import ModelOutput


@contextmanager
def joined(model: nn.Module) -> Iterator[None]:
    """Inside, the logits of each forward depend on those before, times zero. Their values stay what they are."""
    before: list[torch.Tensor] = []

    def join(module: nn.Module, args: tuple, output: ModelOutput) -> None:
        if torch.is_grad_enabled():
            for logits in before:
                output.logits = output.logits + 0.0 * logits[:1, :1, :1].sum()
            before[:] = [output.logits]

    handle = model.register_forward_hook(join)
    try:
        yield
    finally:
        handle.remove()
