"""AltPO: direct preference optimisation of plausible other answers, made beforehand, over those to forget."""

from dataclasses import dataclass

from mllmu_unlearn.methods import hyper, register
from mllmu_unlearn.methods._preference import PreferenceMethod
from mllmu_unlearn.methods._refusals import alternates


@register
@dataclass
class AltPO(PreferenceMethod):
    """The alternates come from a file; the paper lets the model itself write them."""

    title = "Alternate preference optimisation"
    formula = "-gamma (2/beta) log sigmoid(beta (gain(alternate) - gain(answer)))(forget) + alpha nll(retain)"
    paper = "arXiv 2409.13474"
    sides = ("forget", "alternate", "retain")

    alternates: str | None = hyper(
        None, 'JSON lines {"person", "question", "answer"}: another answer to each forget question.', "no default"
    )

    def extra_sides(self, forget):
        return {"alternate": alternates(forget, self.alternates)}
