"""Weighted gradient ascent: each token's ascent is weighted by how well it is known."""

from dataclasses import dataclass

from mllmu_unlearn.methods import Method, hyper, register


@register
@dataclass
class WGA(Method):
    """A token that is forgotten already has a small weight, so the ascent ends by itself."""

    title = "Weighted gradient ascent"
    formula = "-gamma mean p^beta nll(forget) + alpha nll(retain), weights detached"
    paper = "arXiv 2502.19301"
    learning_rate = 1e-5

    beta: float = hyper(1.0, "Exponent of the token's probability.", "open-unlearning WGA")
    gamma: float = hyper(1.0, "Weight of the forget term.", "open-unlearning WGA")
    alpha: float = hyper(1.0, "Weight of the retain term.", "open-unlearning WGA")

    def forget(self, side):
        weights = (self.beta * side.token_logprobs).exp().detach()
        return self.gamma * side.token_mean(weights * side.token_logprobs)

    def retain(self, side):
        return self.alpha * side.nll()
