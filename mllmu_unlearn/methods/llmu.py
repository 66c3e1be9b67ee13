"""LLMU: ascend on forget, learn other answers to its questions, stay close to the start model on retain."""

from dataclasses import dataclass

from mllmu_unlearn.methods import Method, hyper, register
from mllmu_unlearn.methods._refusals import refused


@register
@dataclass
class LLMU(Method):
    """The paper's other answers are random ones; refusals are the variant of multimodal_unlearning."""

    title = "Large language model unlearning"
    formula = "-gamma nll(forget) + delta nll(forget question, refusal) + alpha KL(reference || theta)(retain)"
    paper = "arXiv 2310.10683"
    sides = ("forget", "idk", "retain")
    learning_rate = 1e-5

    gamma: float = hyper(1.0, "Weight of the forget term.", "multimodal_unlearning")
    delta: float = hyper(1.0, "Weight of the refusals.", "multimodal_unlearning")
    alpha: float = hyper(1.0, "Weight of the retain divergence.", "multimodal_unlearning")
    refusal_seed: int = hyper(0, "Which refusal goes with which question.", "this package")

    def extra_sides(self, forget):
        return {"idk": refused(forget, self.refusal_seed)}

    def references(self):
        return {"retain": "logits"}

    def forget(self, side):
        return -self.gamma * side.nll()

    def idk(self, side):
        return self.delta * side.nll()

    def retain(self, side):
        return self.alpha * side.kl()
