"""AltPO: direct preference optimisation of plausible other answers, made beforehand, over those to forget."""

from dataclasses import dataclass

from mllmu_unlearn.methods import hyper, register
from mllmu_unlearn.methods._refusals import alternates
from mllmu_unlearn.methods.dpo import DPO


@register
@dataclass
class AltPO(DPO):
    """The alternates come from a file; the paper lets the model itself write them."""

    title = "Alternate preference optimisation"
    formula = "-gamma (2/beta) log sigmoid(beta (gain(alternate) - gain(answer)))(forget) + alpha nll(retain)"
    paper = "arXiv 2409.13474"
    sides = ("forget", "alternate", "retain")
    name = ""

    alternates: str | None = hyper(
        None, 'JSON lines {"person", "question", "answer"}: another answer to each forget question.', "no default"
    )

    def extra_sides(self, forget):
        return {"alternate": alternates(forget, self.alternates)}

    def references(self):
        return {"forget": "logprobs", "alternate": "logprobs"}

    def terms(self, sides):
        return {"forget": self.preference(sides["forget"], sides["alternate"]), "retain": self.retain(sides["retain"])}
