"""Processed samples stay within their bound, and questions about one image share its pixels."""

import torch

from mllmu_unlearn.training.sample_cache import RowCache

PIXELS = 4 * 3 * 8 * 8


def row(value: float, tokens: int = 2) -> dict:
    return {"input_ids": torch.zeros(1, tokens, dtype=torch.int32), "pixel_values": torch.full((1, 3, 8, 8), value)}


def test_one_image_is_stored_once():
    cache = RowCache(PIXELS + 2 * 8)
    cache.keep(("forget", 0), (5,), row(1.0))
    second = cache.keep(("forget", 1), (5,), row(1.0))
    assert cache.room == 0
    assert second["pixel_values"] is cache.get(("forget", 0))["pixel_values"]
    cache.keep(("forget", 2), (), {"input_ids": torch.zeros(1, 1, dtype=torch.int32)})
    assert cache.get(("forget", 2)) is None  # it no longer fits


def test_unequal_pixels_of_one_image_stay_apart():
    cache = RowCache(10 * PIXELS)
    cache.keep(0, (5,), row(1.0))
    assert cache.keep(1, (5,), row(2.0))["pixel_values"].mean() == 2
    assert cache.get(0)["pixel_values"].mean() == 1
    cache.keep(2, (6,), row(1.0))
    assert cache.room == 10 * PIXELS - 3 * (PIXELS + 8)
