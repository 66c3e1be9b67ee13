"""Rows of any processor -> one batch."""

import pytest
import torch

from mllmu_tasks.models.batching import alike, stack


def row(length: int, **others: torch.Tensor) -> dict[str, torch.Tensor]:
    return {
        "input_ids": torch.arange(1, length + 1)[None],
        "attention_mask": torch.ones(1, length, dtype=torch.long),
        **others,
    }


def test_token_tensors_are_padded_on_the_side_asked_for():
    left = stack([row(3), row(1)], {"input_ids": 9}, "left")
    assert left["input_ids"].tolist() == [[1, 2, 3], [9, 9, 1]]
    assert left["attention_mask"].tolist() == [[1, 1, 1], [0, 0, 1]]
    right = stack([row(3), row(1)], {"input_ids": 9}, "right")
    assert right["input_ids"].tolist() == [[1, 2, 3], [1, 9, 9]]


def test_images_are_put_one_after_the_other():
    batch = stack(
        [row(4, pixel_values=torch.ones(2, 3, 2, 2)), row(3), row(5, pixel_values=2 * torch.ones(1, 3, 2, 2))],
        {},
        "left",
    )
    assert batch["pixel_values"][:, 0, 0, 0].tolist() == [1, 1, 2]


def test_images_of_unequal_shape_are_filled_up_at_their_end():
    batch = stack(
        [row(4, pixel_values=torch.ones(1, 1, 3, 2, 2)), row(9, pixel_values=torch.ones(1, 2, 3, 3, 2))], {}, "left"
    )
    assert batch["pixel_values"].shape == (2, 2, 3, 3, 2)
    assert batch["pixel_values"][0].sum() == 12


def test_a_mask_from_tokens_to_images_is_padded_on_both():
    rows = [row(4, cross_attention_mask=torch.ones(1, 4, 1, 2)), row(6, cross_attention_mask=torch.ones(1, 6, 3, 2))]
    mask = stack(rows, {}, "left")["cross_attention_mask"]
    assert mask.shape == (2, 6, 3, 2)
    assert mask[0].sum() == 8
    assert mask[0, 2:, 0].sum() == 8


def test_a_token_tensor_that_a_row_lacks_is_an_error():
    with pytest.raises(ValueError, match="'token_type_ids' is missing in 1 of 2 rows"):
        stack([row(3, token_type_ids=torch.ones(1, 3)), row(2)], {}, "left")


def test_rows_with_other_token_tensors_are_kept_apart():
    masks = torch.ones(1, 4, 1, 2)
    rows = [row(4, cross_attention_mask=masks), row(2), row(4, cross_attention_mask=masks), row(3)]
    assert alike(rows) == [[0, 2], [1, 3]]
    assert alike([row(3), row(5, pixel_values=torch.ones(1, 3, 2, 2))]) == [[0, 1]]
