"""Direct preference optimisation of a refusal over the answer to forget (IdkDPO)."""

from dataclasses import dataclass

from mllmu_unlearn import losses
from mllmu_unlearn.methods import Method, hyper, register
from mllmu_unlearn.methods._refusals import refused


@register
@dataclass
class DPO(Method):
    """The refusals are ours; the papers' lists differ from each other."""

    title = "Direct preference optimisation of refusals"
    formula = "-gamma (2/beta) log sigmoid(beta (gain(refusal) - gain(answer)))(forget) + alpha nll(retain)"
    paper = "arXiv 2305.18290; with refusals arXiv 2401.06121 (TOFU)"
    sides = ("forget", "idk", "retain")
    learning_rate = 1e-5

    beta: float = hyper(0.1, "Inverse temperature.", "open-unlearning DPO")
    gamma: float = hyper(1.0, "Weight of the preference.", "open-unlearning DPO")
    alpha: float = hyper(1.0, "Weight of the retain term.", "open-unlearning DPO")
    refusal_seed: int = hyper(0, "Which refusal goes with which question.", "this package")

    def extra_sides(self, forget):
        return {"idk": refused(forget, self.refusal_seed)}

    def references(self):
        return {"forget": "logprobs", "idk": "logprobs"}

    def terms(self, sides):
        return {"forget": self.preference(sides["forget"], sides["idk"]), "retain": self.retain(sides["retain"])}

    def preference(self, forget, other):
        """Row i of `other` answers the question of row i of `forget`."""
        gain = other.sequence_logprobs - other.reference.logprobs
        forget_gain = forget.sequence_logprobs - forget.reference.logprobs
        return self.gamma * forget.sequence_mean(losses.dpo(gain, forget_gain, self.beta))

    def retain(self, side):
        return self.alpha * side.nll()
