"""Retain fine-tuning: ordinary training on everyone else; from the base model it is the ideal outcome."""

from dataclasses import dataclass

from mllmu_unlearn.methods import Method, Official, register


@register
@dataclass
class RetainFinetune(Method):
    title = "Retain fine-tuning"
    formula = "nll(retain)"
    paper = "arXiv 2401.06121 (TOFU); reference model of MLLMU-Bench, arXiv 2410.22108"
    sides = ("retain",)
    learning_rate = 2e-5
    epochs = 1.0
    official = Official(phases=(("retain",),))

    def retain(self, side):
        return side.nll()
