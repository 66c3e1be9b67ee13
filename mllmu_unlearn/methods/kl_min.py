"""KL minimisation: ascend on forget, stay close to the start model on retain."""

from dataclasses import dataclass

from mllmu_unlearn.methods import Method, Official, hyper, register
from mllmu_unlearn.toolbox import losses


@register
@dataclass
class KLMin(Method):
    """Official: two passes as in gradient difference; its retain loss is cross-entropy plus a KL divided by
    the number of rows only, over every position (prompt, image and padding too), so it grows with length."""

    title = "KL minimisation"
    formula = "-gamma nll(forget) + alpha KL(reference || theta)(retain)"
    paper = "arXiv 2401.06121 (TOFU); as a baseline of MLLMU-Bench, arXiv 2410.22108"
    learning_rate = 2e-5
    official = Official(phases=(("forget",), ("retain",)), lr_per_epoch=True)

    gamma: float = hyper(1.0, "Weight of the forget term.", "open-unlearning GradDiff with KL")
    alpha: float = hyper(1.0, "Weight of the retain term.", "open-unlearning GradDiff with KL")

    def references(self):
        return {"retain": "logits"}

    def forget(self, side):
        return -self.gamma * side.nll()

    def retain(self, side):
        return self.alpha * side.kl()

    def retain_official(self, side):
        divergence = losses.kl(side.reference.logits, side.logits).sum() / len(side.logits)
        return self.alpha * (side.nll() + side.batch_mean(divergence))
