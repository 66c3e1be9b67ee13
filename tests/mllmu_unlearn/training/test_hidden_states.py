import pytest
import torch
from torch import nn

from mllmu_tasks.errors import UserError
from mllmu_unlearn.training.hidden_states import Hidden


@pytest.fixture
def model() -> nn.Module:
    return nn.Sequential(nn.Sequential(nn.Linear(3, 3), nn.Identity()), nn.Identity())


@pytest.mark.parametrize(
    ("pattern", "message"),
    [
        ("(", r"'\(' is no regular expression"),
        (r"\d", "fits 4 modules of the model, not one"),
        ("absent", "fits 0 modules"),
    ],
)
def test_a_pattern_names_one_module(model, pattern, message):
    with pytest.raises(UserError, match=message):
        Hidden(model, [pattern])


def test_what_a_module_puts_out_is_caught_at_the_kept_positions(model):
    hidden, x = Hidden(model, [r"0\.0"]), torch.arange(12.0).view(1, 4, 3)
    with hidden.catch(torch.tensor([1, 3])) as caught:
        model(x)
    assert torch.equal(caught[r"0\.0"], model[0][0](x)[:, [1, 3]])
    with pytest.raises(UserError, match="does not run on these samples"), hidden.catch(torch.tensor([0])):
        pass
