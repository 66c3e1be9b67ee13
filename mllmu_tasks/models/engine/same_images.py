"""Questions about the same images: what they share of the prompt behind the leaf's examples is computed once.

A person's questions of a leaf begin with the same words and the same face. In a batch, that part goes through the
model once for every person; its keys and values are then handed to each of the person's questions. For the
families of `prefix.py`, where all images of the rows lie in tokens that are the same in all of them.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch

from mllmu_tasks.models.batching import by_token
from mllmu_tasks.models.engine.prefix import WORTH_TOKENS, Computed, Prefix, cache_of
from mllmu_tasks.models.engine.preparing import Prepared
from mllmu_tasks.models.engine.vision import Vision


@dataclass(frozen=True)
class SameImages:
    """rows: of a batch, behind its prefix if that has one. length: tokens that are equal in all of them.

    firsts: the first row of each set of images. places: of each row, the place of its set in `firsts`.
    """

    rows: Sequence[Prepared]
    length: int
    firsts: Sequence[int]
    places: Sequence[int]

    def compute(self, model: Any, vision: Vision, device: torch.device, prefix: Prefix | None) -> Computed:
        """Keys and values of the prefix and the shared part, for every row. The prefix must be prefilled."""
        first = self.rows[0]
        row = {name: value[:, : self.length] for name, value in first.row.items() if _by_token(first, name)}
        positions = None if first.positions is None else first.positions[..., : self.length]
        count = len(self.firsts)
        where = {} if positions is None else {"position_ids": positions.expand(-1, count, -1).to(device)}
        past = prefix.computed(count).cache if prefix else {}
        pieces = [piece for n in self.firsts for piece in self.rows[n].pieces]
        shown = vision.show(pieces, [row["input_ids"]] * count)
        ids = row["input_ids"].expand(count, -1).to(device)
        ((name, cache),) = cache_of(
            model(input_ids=ids, **past, **where, **shown, use_cache=True, logits_to_keep=1)
        ).items()
        cache.reorder_cache(torch.tensor(self.places, device=device))  # on the device of each layer
        if prefix:
            row = {key: torch.cat([prefix.row[key], value], dim=1) for key, value in row.items()}
            positions = None if positions is None else torch.cat([prefix.positions, positions], dim=2)
        return Computed(row, positions, {name: cache})

    @property
    def tokens_computed(self) -> int:
        return len(self.firsts) * self.length

    @property
    def tokens_reused(self) -> int:
        return len(self.rows) * self.length - self.tokens_computed

    @property
    def images_reused(self) -> int:
        return sum(len(row.pieces) for row in self.rows) - sum(len(self.rows[n].pieces) for n in self.firsts)

    def rests(self) -> list[Prepared]:
        """The rows behind the shared part, which have no images any more."""
        return [self._rest(row) for row in self.rows]

    def _rest(self, row: Prepared) -> Prepared:
        tensors = {key: value[:, self.length :] if _by_token(row, key) else value for key, value in row.row.items()}
        positions = None if row.positions is None else row.positions[..., self.length :]
        return replace(row, row=tensors, pieces=(), positions=positions)


def find(rows: Sequence[Prepared], mark: int, grids: bool) -> SameImages | None:
    """None if there is nothing to gain, or not all images lie in the shared part.

    mark: the image token. grids: positions follow image grids.
    """
    sets: dict[tuple[str, ...], int] = {}
    places = [sets.setdefault(tuple(piece.key for piece in row.pieces), len(sets)) for row in rows]
    if () in sets or len(sets) == len(rows):
        return None
    if grids and any(row.positions is None for row in rows):
        return None
    length = min(_equal(rows[0], row) for row in rows)
    length = min(length, min(row.row["input_ids"].shape[1] for row in rows) - 1)  # a token is left to go on from
    if length < WORTH_TOKENS or any((row.row["input_ids"][:, length:] == mark).any() for row in rows):
        return None
    return SameImages(rows, length, [places.index(n) for n in range(len(sets))], places)


def _equal(one: Prepared, other: Prepared) -> int:
    """How many tokens both begin with: equal in every tensor that has an entry a token, and in their positions."""
    shorter = min(one.row["input_ids"].shape[1], other.row["input_ids"].shape[1])
    pairs = [(one.row[name][0], other.row[name][0]) for name in one.row if _by_token(one, name)]
    if one.positions is not None:
        pairs.append((one.positions[:, 0].T, other.positions[:, 0].T))
    differ = [(a[:shorter] != b[:shorter]).reshape(shorter, -1).any(-1) for a, b in pairs]
    return int((torch.stack(differ).any(0).cumsum(0) == 0).sum())


def _by_token(row: Prepared, name: str) -> bool:
    return by_token(row.row[name], row.row["input_ids"])
