"""What a method sees of one side (forget, retain, ...) of a batch, with reductions by global counts."""

from dataclasses import dataclass, field
from functools import cached_property

import torch

from mllmu_unlearn.toolbox import losses


@dataclass(frozen=True)
class Counts:
    """Of one side over the whole accumulation window and all processes.

    tokens: scored tokens. sequences: rows with a scored token. batches: micro-batches that hold this side.
    """

    tokens: torch.Tensor
    sequences: torch.Tensor
    batches: torch.Tensor


@dataclass(frozen=True)
class Reference:
    """What the frozen start model says of the same rows; only what the method asked for is set.

    logits: (B, K, V). logprobs: (B,), log-probability of each whole answer. hidden: as in `Side`.
    """

    logits: torch.Tensor | None = None
    logprobs: torch.Tensor | None = None
    hidden: dict[str, torch.Tensor] = field(default_factory=dict)


@dataclass(frozen=True)
class Side:
    """One side of a micro-batch.

    logits (B, K, V) and labels (B, K) are aligned: logits[:, k] predict labels[:, k]; -100 = unscored.
    hidden: hidden states of the layers the method asked for, (B, K, H), aligned like the logits.
    by_batch: True under the official protocol, whose means are taken over each micro-batch alone.
    """

    logits: torch.Tensor
    labels: torch.Tensor
    counts: Counts
    reference: Reference = field(default_factory=Reference)
    hidden: dict[str, torch.Tensor] = field(default_factory=dict)
    by_batch: bool = False

    @cached_property
    def scored(self) -> torch.Tensor:
        """(B, K) bool: the positions that count."""
        return self.labels != losses.IGNORED

    @cached_property
    def token_logprobs(self) -> torch.Tensor:
        return losses.token_logprobs(self.logits, self.labels)

    @property
    def sequence_logprobs(self) -> torch.Tensor:
        return self.token_logprobs.sum(-1)

    def token_mean(self, values: torch.Tensor) -> torch.Tensor:
        """Mean of (B, K) values over scored tokens; sums to the mean of one big batch over micro-batches."""
        total = (values * self.scored).sum()
        if self.by_batch:
            return self.batch_mean(total / self.scored.sum().clamp(min=1))
        return total / self.counts.tokens

    def sequence_mean(self, values: torch.Tensor) -> torch.Tensor:
        """Mean of (B,) values over the rows that have a scored token."""
        rows = self.scored.any(-1)
        total = (values * rows).sum()
        if self.by_batch:
            return self.batch_mean(total / rows.sum().clamp(min=1))
        return total / self.counts.sequences

    def batch_mean(self, value: torch.Tensor) -> torch.Tensor:
        """Mean over micro-batches of a scalar that belongs to this whole micro-batch (official losses)."""
        return value * self.scored.any() / self.counts.batches

    def nll(self) -> torch.Tensor:
        """Mean negative log-likelihood of the scored tokens."""
        return -self.token_mean(self.token_logprobs)

    def kl(self) -> torch.Tensor:
        """Mean KL(reference || theta) over the scored tokens."""
        return self.token_mean(losses.kl(self.reference.logits, self.logits, self.labels))
