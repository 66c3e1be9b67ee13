"""Rows that were encoded one by one -> batches with labels, padded on the right.

A sample goes through the processor alone and once; batches are made from the results. Thus image and text
rows mix freely, and every tensor that a processor makes reaches the model without being known by name.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
import torch.nn.functional as F

from mllmu_tasks.models.batching import Row, by_token, stack
from mllmu_tasks.models.encode import IGNORED
from mllmu_tasks.models.image_tokens import RUNS, runs


class Collator:
    """Dataset items -> {side: batch}. A batch is {labels, keep, index, padding, **processor tensors}.

    labels: (B, K), shifted: logits at position keep[k] predict labels[:, k]. keep: (K,) the positions that
    any row scores (all if `whole_sequence`), so that the head computes no other logits. index: (B,).
    padding: how many tokens are padding. images: the numbers of the images, where the rows are numbered.
    image_runs: lengths of the runs of image tokens, where `image_token` is known.
    """

    def __init__(self, padding: int, whole_sequence: bool = False, image_token: int | None = None) -> None:
        self.padding = padding
        self.whole_sequence = whole_sequence
        self.image_token = image_token

    def __call__(self, items: Sequence[Mapping[str, tuple[int, Row, bool]]]) -> dict[str, dict[str, Any]]:
        return {side: self.batch([item[side] for item in items]) for side in items[0]}

    def batch(self, picks: Sequence[tuple[int, Row, bool]]) -> dict[str, Any]:
        rows = [{name: t for name, t in row.items() if name != "images"} for _, row, _ in picks]
        inputs = stack(_completed(rows), {"input_ids": self.padding, "labels": IGNORED}, "right")
        labels = F.pad(inputs.pop("labels")[:, 1:], (0, 1), value=IGNORED)
        for place, (_, _, muted) in enumerate(picks):
            if muted:
                labels[place] = IGNORED
        keep = torch.arange(labels.shape[1])
        if not self.whole_sequence:
            scored = (labels != IGNORED).any(0)
            scored[0] |= not scored.any()  # a batch of padding rows still runs, for the other processes
            keep = scored.nonzero().squeeze(1)
        index = torch.tensor([index for index, _, _ in picks])
        padding = inputs["input_ids"].numel() - sum(row["input_ids"].numel() for row in rows)
        numbered = {"images": [n for _, row, _ in picks for n in row["images"]]} if "images" in picks[0][1] else {}
        if self.image_token is not None:
            numbered[RUNS] = runs((row["input_ids"] for row in rows), self.image_token)
        return {"labels": labels[:, keep], "keep": keep, "index": index, "padding": padding, **numbered, **inputs}


def _completed(rows: Sequence[Row]) -> list[Row]:
    """Zeros for a token tensor that only other rows have: it says what a token sees of images, here nothing."""
    like = {name: t for row in rows for name, t in row.items() if by_token(t, row["input_ids"])}
    return [
        row | {k: t.new_zeros(row["input_ids"].shape + t.shape[2:]) for k, t in like.items() if k not in row}
        for row in rows
    ]
