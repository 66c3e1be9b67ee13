"""The beginning that the prompts of a leaf share (their examples), computed once and reused for every question.

For architectures where a token sees only what stands before it, where positions are counted, and where each image
is a run of equal tokens of one length: there the keys and values of the beginning are the same in every prompt.
Others (positions by image grids, attention in both directions over the prompt) take plain batches.
"""

import copy
import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch

from mllmu_tasks.models.batching import Row
from mllmu_tasks.models.vision import Piece, Vision

ARCHITECTURES = ("llava",)
WORTH_TOKENS = 16  # a shorter beginning (a BOS and `USER:`) does not pay for smaller batches


@dataclass
class Prefix:
    """tokens: of the beginning before images are unfolded; images: how many of the prompt's lie in it.

    ids: (1, L), images unfolded. pieces: its images.
    """

    tokens: int
    images: int
    ids: torch.Tensor
    pieces: Sequence[Piece]
    cache: Any = None

    def prefill(self, model: Any, vision: Vision, device: torch.device) -> bool:
        """Compute keys and values unless that is done. True if there was something to do."""
        if self.cache is not None:
            return False
        out = model(input_ids=self.ids.to(device), **vision.show(self.pieces), use_cache=True, logits_to_keep=1)
        self.cache = out.past_key_values
        return True

    def before(self, batch: Row) -> dict[str, Any]:
        """A batch of rests, padded on their left -> arguments of `generate` for the whole prompts."""
        rows = batch["input_ids"].shape[0]
        ids = self.ids.to(batch["input_ids"].device).expand(rows, -1)
        cache = copy.deepcopy(self.cache)
        cache.batch_repeat_interleave(rows)
        return batch | {
            "input_ids": torch.cat([ids, batch["input_ids"]], dim=1),
            "attention_mask": torch.cat([torch.ones_like(ids), batch["attention_mask"]], dim=1),
            "past_key_values": cache,
        }


def find(prompts: Sequence[Sequence[int]], images: Sequence[Sequence[str]], mark: int) -> tuple[int, int]:
    """(tokens, images) of the longest beginning that all share and that leaves a token of each.

    prompts: their tokens, one `mark` an image. images: the identities of theirs, in order.
    """
    length = min(_common(min(prompts), max(prompts)), min(map(len, prompts)) - 1)
    shared = _common(min(images), max(images))
    marks = [place for place, token in enumerate(prompts[0][:length]) if token == mark]
    if len(marks) > shared:  # the same mark, but another face
        length = marks[shared]
    return length, min(len(marks), shared)


def _common(one: Sequence, other: Sequence) -> int:
    """Of the smallest and the greatest of several sequences: what these two share, all share."""
    return sum(1 for _ in itertools.takewhile(lambda pair: pair[0] == pair[1], zip(one, other, strict=False)))


def unfold(tokens: Sequence[int], mark: int, run: int) -> list[int]:
    return [token for each in tokens for token in ([mark] * run if each == mark else [each])]


def run_of(ids: Sequence[int], tokens: Sequence[int], mark: int) -> int | None:
    """Tokens an image, if `ids` are `tokens` with every mark unfolded into a run of marks of one length."""
    marks = list(tokens).count(mark)
    run = 1 + (len(ids) - len(tokens)) // marks if marks else 1
    return run if list(ids) == unfold(tokens, mark, run) else None
