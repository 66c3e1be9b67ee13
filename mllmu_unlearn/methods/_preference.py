"""What methods share that prefer another answer over the one to forget."""

from dataclasses import dataclass

from mllmu_unlearn.methods._base import Method, hyper
from mllmu_unlearn.toolbox import losses


@dataclass
class PreferenceMethod(Method):
    """sides of a subclass: `forget`, the name of the other answers' side, `retain`."""

    learning_rate = 1e-5

    beta: float = hyper(0.1, "Inverse temperature.", "open-unlearning DPO")
    gamma: float = hyper(1.0, "Weight of the preference.", "open-unlearning DPO")
    alpha: float = hyper(1.0, "Weight of the retain term.", "open-unlearning DPO")

    def __post_init__(self):
        self.above_zero("beta")

    def references(self):
        return dict.fromkeys(self.sides[:2], "logprobs")

    def terms(self, sides):
        forget, other, retain = (sides[name] for name in self.sides)
        return {"forget": self.preference(forget, other), "retain": self.alpha * retain.nll()}

    def preference(self, forget, other):
        """Row i of `other` answers the question of row i of `forget`."""
        gain = other.sequence_logprobs - other.reference.logprobs
        forget_gain = forget.sequence_logprobs - forget.reference.logprobs
        return self.gamma * forget.sequence_mean(losses.dpo(gain, forget_gain, self.beta))
