"""Direct preference optimisation of a refusal over the answer to forget (IdkDPO)."""

from dataclasses import dataclass

from mllmu_unlearn.methods import hyper, register
from mllmu_unlearn.methods._preference import PreferenceMethod
from mllmu_unlearn.methods._refusals import refused


@register
@dataclass
class DPO(PreferenceMethod):
    """The refusals are ours; the papers' lists differ from each other."""

    title = "Direct preference optimisation of refusals"
    formula = "-gamma (2/beta) log sigmoid(beta (gain(refusal) - gain(answer)))(forget) + alpha nll(retain)"
    paper = "arXiv 2305.18290; with refusals arXiv 2401.06121 (TOFU)"
    sides = ("forget", "idk", "retain")

    refusal_seed: int = hyper(0, "Which refusal goes with which question.", "this package")

    def extra_sides(self, forget):
        return {"idk": refused(forget, self.refusal_seed)}
