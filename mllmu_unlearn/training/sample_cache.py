"""Processed samples in memory, within a bound; questions about one image share its pixels."""

from collections.abc import Hashable

import torch

from mllmu_tasks.models.batching import Row, by_token


class RowCache:
    """The first rows that fit `limit` bytes."""

    def __init__(self, limit: int) -> None:
        self.room = limit
        self.rows: dict[Hashable, Row] = {}
        self.pictures: dict[tuple, torch.Tensor] = {}

    def get(self, place: Hashable) -> Row | None:
        return self.rows.get(place)

    def keep(self, place: Hashable, images: tuple[int, ...], row: Row) -> Row:
        """The row, kept if it fits. images: numbers of what it shows; equal tensors of equal images are one."""
        apart = {name: t for name, t in row.items() if images and not by_token(t, row["input_ids"])}
        for name, tensor in apart.items():
            known = self.pictures.get((images, name))
            if known is not None and known.dtype == tensor.dtype and torch.equal(known, tensor):
                row[name] = known
        size = sum(t.nbytes for name, t in row.items() if self.pictures.get((images, name)) is not t)
        if size <= self.room:
            self.room -= size
            self.pictures |= {(images, name): row[name] for name in apart}
            self.rows[place] = row
        return row
