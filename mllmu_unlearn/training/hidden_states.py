"""Outputs of chosen modules during one forward, for losses on hidden states."""

import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import torch
from torch import nn

from mllmu_tasks.errors import UserError


class Hidden:
    """Catches what modules put out. Raises UserError unless each pattern fits exactly one module."""

    def __init__(self, model: nn.Module, patterns: Sequence[str]) -> None:
        self.modules = {}
        for pattern in patterns:
            try:
                re.compile(pattern)
            except re.error as error:
                raise UserError(f"layer pattern '{pattern}' is no regular expression ({error}).") from error
            found = [module for name, module in model.named_modules() if re.fullmatch(f".*{pattern}", name)]
            if len(found) != 1:
                raise UserError(f"layer pattern '{pattern}' fits {len(found)} modules of the model, not one.")
            self.modules[pattern] = found[0]

    @contextmanager
    def catch(self, keep: torch.Tensor) -> Iterator[dict[str, torch.Tensor]]:
        """A dict that a forward inside fills: pattern -> (B, K, H) at the positions `keep`."""
        caught: dict[str, torch.Tensor] = {}

        def hook(pattern: str):
            def store(module: nn.Module, args: tuple, output) -> None:
                caught[pattern] = (output[0] if isinstance(output, tuple) else output)[:, keep]

            return store

        handles = [m.register_forward_hook(hook(pattern)) for pattern, m in self.modules.items()]
        try:
            yield caught
            silent = sorted(set(self.modules) - set(caught))
            if silent:
                raise UserError(f"layer '{silent[0]}' does not run on these samples; choose another --layer.")
        finally:
            for handle in handles:
                handle.remove()
