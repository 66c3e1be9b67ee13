"""SimNPO: negative preference optimisation without a reference, normalised by the answer's length."""

from dataclasses import dataclass

from mllmu_unlearn.methods import Method, hyper, register
from mllmu_unlearn.toolbox import losses


@register
@dataclass
class SimNPO(Method):
    """No start model is asked, so a step costs what gradient difference costs."""

    title = "Simple negative preference optimisation"
    formula = "-gamma (2/beta) log sigmoid(beta (mean nll - delta))(forget) + alpha nll(retain)"
    paper = "arXiv 2410.07163"
    learning_rate = 1e-5
    epochs = 10.0

    beta: float = hyper(4.5, "Inverse temperature.", "open-unlearning SimNPO")
    delta: float = hyper(0.0, "Margin: the mean nll from which on the pressure falls.", "open-unlearning SimNPO")
    gamma: float = hyper(0.125, "Weight of the forget term.", "open-unlearning SimNPO")
    alpha: float = hyper(1.0, "Weight of the retain term.", "open-unlearning SimNPO")

    def __post_init__(self):
        self.above_zero("beta")

    def forget(self, side):
        values = losses.simnpo(side.sequence_logprobs, side.scored.sum(-1), self.beta, self.delta)
        return self.gamma * side.sequence_mean(values)

    def retain(self, side):
        return self.alpha * side.nll()
