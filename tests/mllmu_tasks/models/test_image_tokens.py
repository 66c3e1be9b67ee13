"""Image tokens against image features, an image at a time."""

import pytest
import torch

from mllmu_tasks.errors import UserError
from mllmu_tasks.models.image_tokens import lengths, require_match, runs


def test_runs_row_after_row():
    rows = [torch.tensor([[1, 9, 9, 2, 9]]), torch.tensor([[9, 9, 9]]), torch.tensor([[1, 2]])]
    assert runs(rows, 9) == [2, 1, 3]


@pytest.mark.parametrize(
    ("tokens", "features"),
    [
        ([16, 16], [16, 16]),
        ([32, 16], [16, 16, 16]),  # two images without text between them
        ([4, 4, 4], [8, 4]),  # tiles of an image, which are runs of their own
        ([], []),
    ],
)
def test_what_fits(tokens, features):
    require_match(tokens, features)


@pytest.mark.parametrize(
    ("tokens", "features"),
    [
        ([15, 15], [16, 16]),
        ([15, 17], [16, 16]),  # the sums are equal: Transformers lets this pass, and a face goes to the next person
        ([4], [16]),
        ([], [16]),
        ([16], []),
    ],
)
def test_what_does_not(tokens, features):
    with pytest.raises(UserError, match="patch_size, num_additional_image_tokens and vision_feature_select_strategy"):
        require_match(tokens, features)


def test_lengths_of_a_stack_and_of_a_list():
    assert lengths(torch.zeros(2, 5, 3)) == [5, 5]
    assert lengths([torch.zeros(5, 3), torch.zeros(7, 3)]) == [5, 7]
