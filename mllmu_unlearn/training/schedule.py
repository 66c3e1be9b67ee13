"""Which samples meet in which batch: a pure function of (seed, epoch, position), so that any rank and any
resumed run finds the same batches."""

from collections.abc import Iterator, Mapping, Sequence

import numpy as np
from torch.utils.data import Sampler

from mllmu_tasks.artifacts.identity import text_hash
from mllmu_unlearn.training.samples import Key

GROUPED = 50
"""How many batches are sorted by size together."""


class Schedule(Sampler[list[Key]]):
    """Batches of one process for one epoch.

    phases: sides that share a batch; phases follow each other within an epoch (the official code), and no
    batch spans two. The first side of a phase is passed over once; the others are drawn without replacement
    in their own endless shuffled order, which goes on from epoch to epoch.
    aligned: sides that take the index of another side (alternate answers of the forget samples).
    sizes_of: side -> a sortable size of each sample. If given for the first side of a phase, batches are made of
    samples of like size (sorted within some fifty shuffled batches), which saves padding; each other side that
    has sizes and is not aligned is sorted for itself, since sides are padded apart.
    interleaved: the windows of all phases are spread evenly over the epoch instead, the first phase's first (a step
    of ascent every few steps of descent).
    lengths: how many samples an epoch draws of a phase, by its first side, if not all of them once.
    Muted items fill up each phase to whole windows of `world * accumulate` batches, so that no window mixes
    phases and every process has equally many batches.
    """

    def __init__(
        self,
        sizes: Mapping[str, int],
        phases: Sequence[tuple[str, ...]],
        batch_size: int,
        *,
        seed: int,
        aligned: Mapping[str, str] | None = None,
        sizes_of: Mapping[str, Sequence] | None = None,
        interleaved: bool = False,
        lengths: Mapping[str, int] | None = None,
        accumulate: int = 1,
        world: int = 1,
        rank: int = 0,
    ) -> None:
        self.sizes = dict(sizes)
        self.phases = tuple(phases)
        self.batch_size = batch_size
        self.seed = seed
        self.aligned = dict(aligned or {})
        self.sizes_of = dict(sizes_of or {})
        self.interleaved = interleaved
        self.lengths = {phase[0]: (lengths or {}).get(phase[0], self.sizes[phase[0]]) for phase in phases}
        self.accumulate = accumulate
        self.world = world
        self.rank = rank
        self.epoch = 0

    def set_epoch(self, epoch: int) -> None:
        self.epoch = epoch

    def __len__(self) -> int:
        return sum(self._batches(phase) for phase in self.phases)

    def __iter__(self) -> Iterator[list[Key]]:
        keys = [self._keys(number, phase) for number, phase in enumerate(self.phases)]
        share = self.batch_size * self.world
        for number, batch in self._places():
            mine = keys[number][batch * share : (batch + 1) * share][self.rank :: self.world]
            yield mine or [Key(keys[number][0].picks, muted=True)]

    def _places(self) -> list[tuple[int, int]]:
        """(phase, batch of the phase) in the order of an epoch."""
        counts = [self._batches(phase) for phase in self.phases]
        places = [(number, batch) for number, count in enumerate(counts) for batch in range(count)]
        if self.interleaved:
            places.sort(key=lambda at: (at[1] // self.accumulate * self.accumulate / counts[at[0]], *at))
        return places

    def _batches(self, phase: tuple[str, ...]) -> int:
        """Batches of one process in a phase; more than one phase: whole accumulation windows."""
        batches = -(-self.lengths[phase[0]] // (self.batch_size * self.world))
        if len(self.phases) > 1:
            batches = -(-batches // self.accumulate) * self.accumulate
        return batches

    def _keys(self, number: int, phase: tuple[str, ...]) -> list[Key]:
        first = phase[0]
        length = self.lengths[first]
        columns = {first: self._draw(first, number, self.epoch * length, length)}
        for side in phase[1:]:
            other = self.aligned.get(side)
            columns[side] = columns[other] if other else self._draw(side, number, self.epoch * length, length)
        keys = [Key(tuple((side, int(columns[side][i])) for side in phase)) for i in range(length)]
        return self._grouped(keys, number) if first in self.sizes_of else keys

    def _grouped(self, keys: list[Key], phase: int) -> list[Key]:
        """The same picks with like sizes side by side; the batch that is not full stays the last."""
        share = self.batch_size * self.world
        full = len(keys) // share * share
        ordered: list[Key] = []
        for start in range(0, full, GROUPED * share):
            ordered += self._sorted(keys[start : min(start + GROUPED * share, full)])
        rng = np.random.default_rng([self.seed, self.epoch, phase])
        batches = rng.permutation(full // share)
        return [key for b in batches for key in ordered[b * share : (b + 1) * share]] + keys[full:]

    def _sorted(self, window: list[Key]) -> list[Key]:
        """The window's picks of each side by size; aligned sides stay with the side they follow."""
        first, *others = (side for side, _ in window[0].picks)
        rows = sorted((dict(key.picks) for key in window), key=lambda row: self.sizes_of[first][row[first]])
        for side in others:
            if side in self.sizes_of and side not in self.aligned:
                picks = sorted((row[side] for row in rows), key=self.sizes_of[side].__getitem__)
                rows = [row | {side: pick} for row, pick in zip(rows, picks, strict=True)]
        return [Key(tuple(row.items())) for row in rows]

    def _draw(self, side: str, phase: int, start: int, length: int) -> np.ndarray:
        """Entries start..start+length of the side's endless order: one fresh permutation after another."""
        size = self.sizes[side]
        passes = range(start // size, -(-(start + length) // size))
        salt = _salt(side) + phase
        order = [np.random.default_rng([self.seed, salt, p]).permutation(size) for p in passes]
        offset = start - passes.start * size
        return np.concatenate(order)[offset : offset + length]


def _salt(side: str) -> int:
    """A number for a side's name; long names are hashed, so that equal beginnings do not share an order."""
    name = side.encode()
    short = name.ljust(8, b"\0") if len(name) <= 8 else bytes.fromhex(text_hash(name))[:8]
    return int.from_bytes(short, "little")
