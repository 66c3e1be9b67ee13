"""Preference for "I don't know" by plain likelihood: learn refusals in place of the answers to forget."""

from dataclasses import dataclass

from mllmu_unlearn.methods import Method, hyper, register
from mllmu_unlearn.methods._refusals import refused


@register
@dataclass
class IDK(Method):
    """The refusals are ours; the papers' lists differ from each other."""

    title = "Refusal tuning (IDK, PO)"
    formula = "gamma nll(forget question, refusal) + alpha nll(retain)"
    paper = "arXiv 2401.06121 (TOFU, preference optimisation with IDK answers)"
    sides = ("idk", "retain")
    learning_rate = 1e-5

    gamma: float = hyper(1.0, "Weight of the refusals.", "TOFU: both terms equal")
    alpha: float = hyper(1.0, "Weight of the retain term.", "TOFU: both terms equal")
    refusal_seed: int = hyper(0, "Which refusal goes with which question.", "this package")

    def extra_sides(self, forget):
        return {"idk": refused(forget, self.refusal_seed)}

    def idk(self, side):
        return self.gamma * side.nll()

    def retain(self, side):
        return self.alpha * side.nll()
