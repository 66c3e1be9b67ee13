"""Gradient difference: ascend on forget, descend on retain, in one step."""

from dataclasses import dataclass

from mllmu_unlearn.methods import Method, Official, hyper, register


@register
@dataclass
class GradDiff(Method):
    """Official: a whole pass of ascent over forget, then a whole pass of descent over retain, each epoch."""

    title = "Gradient difference"
    formula = "-gamma nll(forget) + alpha nll(retain)"
    paper = "arXiv 2203.12817; as a baseline of MLLMU-Bench, arXiv 2410.22108"
    learning_rate = 2e-5
    official = Official(phases=(("forget",), ("retain",)), lr_per_epoch=True)

    gamma: float = hyper(1.0, "Weight of the forget term.", "open-unlearning GradDiff")
    alpha: float = hyper(1.0, "Weight of the retain term.", "open-unlearning GradDiff")

    def forget(self, side):
        return -self.gamma * side.nll()

    def retain(self, side):
        return self.alpha * side.nll()
