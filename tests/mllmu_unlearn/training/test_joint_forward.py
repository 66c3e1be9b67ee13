"""Forwards that one loss is made of hang together, and neither their values nor their gradients change."""

import torch
from torch import nn
from transformers.modeling_outputs import CausalLMOutput

from mllmu_unlearn.training.joint_forward import joined


class Two(nn.Module):
    """Uses one weight or the other."""

    def __init__(self) -> None:
        super().__init__()
        self.one, self.two = nn.Linear(3, 4), nn.Linear(3, 4)

    def forward(self, x: torch.Tensor, first: bool) -> CausalLMOutput:
        return CausalLMOutput(logits=self.one(x) if first else self.two(x))


def test_the_last_forward_reaches_the_weights_of_all():
    torch.manual_seed(0)
    model, x = Two(), torch.randn(2, 5, 3)
    apart = [model(x, first).logits for first in (True, False)]
    with joined(model):
        together = [model(x, first).logits for first in (True, False)]
        with torch.no_grad():
            assert not model(x, True).logits.requires_grad
    assert all(torch.equal(a, b) for a, b in zip(apart, together, strict=True))
    (reached,) = torch.autograd.grad(together[1].sum(), [model.one.weight], retain_graph=True)
    assert not reached.any()
    wanted = torch.autograd.grad(sum(t.square().sum() for t in apart), list(model.parameters()))
    found = torch.autograd.grad(sum(t.square().sum() for t in together), list(model.parameters()))
    assert all(torch.equal(a, b) for a, b in zip(wanted, found, strict=True))
    assert torch.autograd.grad(model(x, False).logits.sum(), [model.one.weight], allow_unused=True)[0] is None
