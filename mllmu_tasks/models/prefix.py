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

ARCHITECTURES = ("llava",)
WORTH_TOKENS = 16  # a shorter beginning (a BOS and `USER:`) does not pay for smaller batches


@dataclass
class Prefix:
    """tokens: of the beginning before images are unfolded; images: how many of the prompt's lie in it.

    ids: (1, L), images unfolded. pixel_values: of its images, or None. run: tokens an image.
    """

    tokens: int
    images: int
    ids: torch.Tensor
    pixel_values: torch.Tensor | None
    run: int
    cache: Any = None

    def prefill(self, model: Any, device: torch.device, dtype: torch.dtype) -> bool:
        """Compute keys and values unless that is done. True if there was something to do."""
        if self.cache is not None:
            return False
        pixels = {} if self.pixel_values is None else {"pixel_values": self.pixel_values.to(device, dtype)}
        out = model(input_ids=self.ids.to(device), **pixels, use_cache=True, logits_to_keep=1)
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

    def rest(self, tokens: Sequence[int], mark: int) -> torch.Tensor:
        """Tokens of a whole prompt -> (1, S) ids after the beginning, images unfolded."""
        return torch.tensor([unfold(tokens[self.tokens :], mark, self.run)])


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


def make(whole: Row, tokens: Sequence[int], length: int, images: int, mark: int) -> Prefix | None:
    """The first `length` tokens of a prompt, given what the processor makes of the whole.

    None if it is too short to pay, or if the processor does more than unfold images into equal runs.
    """
    marks = list(tokens).count(mark)
    added = whole["input_ids"].shape[1] - len(tokens)
    run = 1 + added // marks if marks else 1
    unfolded = unfold(tokens[:length], mark, run)
    pixels = whole.get("pixel_values")
    if len(unfolded) < WORTH_TOKENS or whole["input_ids"][0].tolist() != unfold(tokens, mark, run):
        return None
    if marks and (pixels is None or pixels.shape[0] != marks):
        return None
    return Prefix(length, images, torch.tensor([unfolded]), pixels[:images] if images else None, run)
