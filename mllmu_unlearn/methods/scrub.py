"""SCRUB: move away from the start model on forget, stay with it on retain."""

from dataclasses import dataclass

from mllmu_unlearn.methods import Method, hyper, register


@register
@dataclass
class SCRUB(Method):
    """The paper alternates steps of ascent and of descent; here both are one joint step."""

    title = "SCRUB"
    formula = "-beta KL(reference || theta)(forget) + alpha KL(reference || theta)(retain) + gamma nll(retain)"
    paper = "arXiv 2302.09880"
    learning_rate = 1e-5

    beta: float = hyper(1.0, "Weight of the forget term.", "multimodal_unlearning")
    alpha: float = hyper(1.0, "Weight of the retain divergence.", "multimodal_unlearning")
    gamma: float = hyper(1.0, "Weight of the retain likelihood.", "multimodal_unlearning")

    def references(self):
        return {"forget": "logits", "retain": "logits"}

    def forget(self, side):
        return -self.beta * side.kl()

    def retain(self, side):
        return self.alpha * side.kl() + self.gamma * side.nll()
