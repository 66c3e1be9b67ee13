"""SatImp: ascent weighted by saturation and importance of each token."""

from dataclasses import dataclass

from mllmu_unlearn.methods import Method, hyper, register


@register
@dataclass
class SatImp(Method):
    """Weights p^beta1 (1 - p)^beta2: what is known, but not what is beyond doubt."""

    title = "Saturation- and importance-weighted ascent"
    formula = "-gamma mean p^beta1 (1-p)^beta2 nll(forget) + alpha nll(retain), weights detached"
    paper = "arXiv 2505.11953"
    learning_rate = 1e-5

    beta1: float = hyper(5.0, "Exponent of p.", "open-unlearning SatImp, its YAML")
    beta2: float = hyper(1.0, "Exponent of 1 - p.", "open-unlearning SatImp, its YAML")
    gamma: float = hyper(0.1, "Weight of the forget term.", "open-unlearning SatImp, its YAML; its class has 1")
    alpha: float = hyper(1.0, "Weight of the retain term.", "open-unlearning SatImp, its YAML; its class has 0.1")

    def forget(self, side):
        known = side.token_logprobs.exp().detach()
        return self.gamma * side.token_mean(known**self.beta1 * (1 - known) ** self.beta2 * side.token_logprobs)

    def retain(self, side):
        return self.alpha * side.nll()
