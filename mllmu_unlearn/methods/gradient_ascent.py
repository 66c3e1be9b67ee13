"""Gradient ascent: raise the loss of what must be forgotten."""

from dataclasses import dataclass

from mllmu_unlearn.methods import Method, Official, register


@register
@dataclass
class GradientAscent(Method):
    title = "Gradient ascent"
    formula = "-nll(forget)"
    paper = "arXiv 1911.03030; as a baseline of MLLMU-Bench, arXiv 2410.22108"
    sides = ("forget",)
    learning_rate = 2e-5
    epochs = 1.0
    official = Official(phases=(("forget",),))

    def forget(self, side):
        return -side.nll()
