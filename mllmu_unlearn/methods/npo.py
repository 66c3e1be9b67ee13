"""Negative preference optimisation: push answers below the start model, with a bounded gradient."""

from dataclasses import dataclass

from mllmu_unlearn.methods import Method, Official, hyper, register
from mllmu_unlearn.toolbox import losses


@register
@dataclass
class NPO(Method):
    """Official: the same curve on the batch's token-mean loss, no retain term; there the reference was a
    model trained on retain only (`--reference_model`; the start model if none is given)."""

    title = "Negative preference optimisation"
    formula = "-(2/beta) log sigmoid(-beta log(p/p_ref))(forget) + alpha nll(retain)"
    paper = "arXiv 2404.05868"
    learning_rate = 5e-5
    official = Official(phases=(("forget",),), hyper_parameters={"beta": 0.4, "alpha": 0.0})

    beta: float = hyper(0.1, "Inverse temperature; towards 0 it becomes gradient ascent.", "open-unlearning")
    gamma: float = hyper(1.0, "Weight of the forget term.", "open-unlearning NPO")
    alpha: float = hyper(1.0, "Weight of the retain term.", "open-unlearning NPO")

    def __post_init__(self):
        self.above_zero("beta")

    def references(self):
        return {"forget": "logprobs"}

    def forget(self, side):
        values = losses.npo(side.sequence_logprobs, side.reference.logprobs, self.beta)
        return self.gamma * side.sequence_mean(values)

    def retain(self, side):
        return self.alpha * side.nll()

    def forget_official(self, side):
        tokens = side.scored.sum().clamp(min=1)
        mean, reference = side.sequence_logprobs.sum() / tokens, side.reference.logprobs.sum() / tokens
        return self.gamma * side.batch_mean(losses.npo(mean, reference, self.beta))
