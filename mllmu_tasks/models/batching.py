"""Rows that a processor made one by one -> one batch; any processor tensor passes through by its shape."""

from collections.abc import Mapping, Sequence
from typing import Literal

import torch
import torch.nn.functional as F

Row = dict[str, torch.Tensor]


def by_token(tensor: torch.Tensor, ids: torch.Tensor) -> bool:
    """True for tensors with one entry a token, (1, T, ...)."""
    return tensor.ndim >= 2 and tensor.shape[:2] == ids.shape


def stack(rows: Sequence[Row], fill: Mapping[str, int], side: Literal["left", "right"]) -> Row:
    """One batch from single rows: token tensors padded on `side`, all others concatenated.

    fill: padding value by tensor name, 0 for others. Other tensors of unequal shape are filled up with zeros at
    their end, as the processors do with their images. A tensor that only some rows have (pixels, in a mixed
    batch) is concatenated over those; token tensors must be in all. Raises ValueError otherwise.
    """
    width = max(row["input_ids"].shape[1] for row in rows)
    batch = {}
    for key in dict.fromkeys(key for row in rows for key in row):
        having = [row for row in rows if key in row]
        if all(by_token(row[key], row["input_ids"]) for row in having):
            if len(having) < len(rows):
                raise ValueError(f"'{key}' is missing in {len(rows) - len(having)} of {len(rows)} rows")
            tensors = [pad(row[key], 1, width, fill.get(key, 0), side) for row in rows]
        else:
            tensors = [row[key] for row in having]
        for axis in range(1, tensors[0].ndim):
            longest = max(t.shape[axis] for t in tensors)
            tensors = [pad(t, axis, longest, 0, "right") for t in tensors]
        batch[key] = torch.cat(tensors)
    return batch


def alike(rows: Sequence[Row]) -> list[list[int]]:
    """Positions of the rows that may be computed together: those with token tensors of the same kinds and shapes.

    Most processors make the same for all prompts; some (cross attention) make more for prompts with images, with an
    axis of images. An image that is filled up is masked there, but Transformers' Mllama reads it all the same.
    """
    groups: dict[frozenset, list[int]] = {}
    for place, row in enumerate(rows):
        kind = frozenset((key, value.shape[2:]) for key, value in row.items() if by_token(value, row["input_ids"]))
        groups.setdefault(kind, []).append(place)
    return list(groups.values())


def pad(tensor: torch.Tensor, axis: int, length: int, value: int, side: Literal["left", "right"]) -> torch.Tensor:
    missing = length - tensor.shape[axis]
    if not missing:
        return tensor
    before = [0, 0] * (tensor.ndim - axis - 1)
    return F.pad(tensor, [*before, *((missing, 0) if side == "left" else (0, missing))], value=value)
