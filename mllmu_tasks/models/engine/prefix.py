"""The beginning that the prompts of a leaf share (their examples), computed once and reused for every question.

For families that share: there a token sees only what stands before it, so the keys and values of the beginning are the
same in every prompt. Positions are counted, or come from the model's own rule where they follow image grids. Others
(attention in both directions over the prompt, cross attention to images) take plain batches.
"""

import copy
import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch

from mllmu_tasks.models.batching import Row, pad
from mllmu_tasks.models.engine.vision import Piece, Vision

WORTH_TOKENS = 16  # a shorter beginning (a BOS and `USER:`) does not pay for smaller batches


@dataclass
class Prefix:
    """tokens: of the beginning before images are unfolded; images: how many of the prompt's lie in it.

    row: its tensors with an entry a token, (1, L). pieces: its images. positions: (axes, 1, L) where they follow
    image grids, else None: they are counted.
    """

    tokens: int
    images: int
    row: Row
    pieces: Sequence[Piece]
    positions: torch.Tensor | None = None
    cache: dict[str, Any] | None = None

    @property
    def ids(self) -> torch.Tensor:
        """(1, L), images unfolded."""
        return self.row["input_ids"]

    def starts(self, row: Row, pieces: Sequence[Piece]) -> bool:
        """Whether a whole prompt's tensors begin with this."""
        length = self.ids.shape[1]
        same = [piece.key for piece in pieces[: len(self.pieces)]] == [piece.key for piece in self.pieces]
        return same and all(torch.equal(row[name][:, :length], value) for name, value in self.row.items())

    def prefill(self, model: Any, vision: Vision, device: torch.device) -> bool:
        """Compute keys and values unless that is done. True if there was something to do."""
        if self.cache is not None:
            return False
        where = {} if self.positions is None else {"position_ids": self.positions.to(device)}
        shown = vision.show(self.pieces, [self.ids])
        self.cache = cache_of(model(input_ids=self.ids.to(device), **where, **shown, use_cache=True, logits_to_keep=1))
        return True

    def computed(self, rows: int) -> "Computed":
        """For so many rows, with a cache of their own."""
        ((name, own),) = copy.deepcopy(self.cache).items()
        own.batch_repeat_interleave(rows)
        return Computed(self.row, self.positions, {name: own})


@dataclass
class Computed:
    """The beginning of a batch's rows, whose keys and values are there.

    row: its tensors with an entry a token, (1, L), the same for all rows. positions: (axes, 1, L) or None. cache: of
    all rows, by the name that this version of Transformers gives it.
    """

    row: Row
    positions: torch.Tensor | None
    cache: dict[str, Any]

    def before(self, batch: Row, positions: Sequence[torch.Tensor | None]) -> dict[str, Any]:
        """A batch of rests, padded on their left -> arguments of `generate` for the whole prompts.

        positions: of each rest, (axes, 1, S).
        """
        rows, width = batch["input_ids"].shape
        device = batch["input_ids"].device
        whole = {
            name: torch.cat([value.to(device).expand(rows, -1), batch[name]], dim=1) for name, value in self.row.items()
        }
        if self.positions is not None:
            rests = torch.cat([pad(one, 2, width, 0, "left") for one in positions], dim=1)
            first = self.positions.expand(-1, rows, -1)
            whole["position_ids"] = torch.cat([first, rests], dim=2).to(device)
        return batch | whole | self.cache


def cache_of(output: Any) -> dict[str, Any]:
    """The keys and values of a forward, as the argument of the next; it was renamed within Transformers 5."""
    name = "cache" if "cache" in output else "past_key_values"
    return {name: output[name]}


def reach(text: Any) -> int | None:
    """Tokens of prompt and answer up to which a beginning may be handed on; None: any number. text: configuration.

    In a batch, padding stands between the beginning and the rest. Full attention is told not to see it, but a
    sliding window counts it; layers of other kinds (linear attention, chunks) go through it.
    """
    window = getattr(text, "sliding_window", None)
    kinds = set(getattr(text, "layer_types", None) or ["sliding_attention" if window else "full_attention"])
    if kinds == {"full_attention"}:
        return None
    return window if kinds <= {"full_attention", "sliding_attention"} else 0


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
