"""PDU: flat logits on forget, under a bound on the retain loss whose price (a dual variable) is learnt."""

from dataclasses import dataclass

from mllmu_tasks.errors import UserError
from mllmu_unlearn.methods import Method, hyper, register
from mllmu_unlearn.toolbox import losses


@register
@dataclass
class PDU(Method):
    """The dual variable moves once an optimiser step, by the retain loss of the whole step over all processes."""

    title = "Primal-dual unlearning"
    formula = (
        "gamma mean (max z - mean z)^2(forget) + lambda (nll(retain) - epsilon), "
        "lambda <- max(0, lambda + dual_step (nll(retain) - epsilon))"
    )
    paper = "constrained entropic unlearning, arXiv 2506.05314"
    learning_rate = 1e-5
    epochs = 10.0

    epsilon: float | None = hyper(None, "The retain loss that is allowed, such as the start model's.", "no default")
    gamma: float = hyper(1.0, "Weight of the forget term.", "open-unlearning PDU")
    alpha: float = hyper(1.0, "The dual variable lambda at the start.", "open-unlearning PDU")
    dual_step: float = hyper(1.0, "How fast lambda follows the constraint.", "open-unlearning PDU")
    dual_warmup: float = hyper(5.0, "Epochs before lambda moves.", "open-unlearning PDU, its YAML")

    def __post_init__(self):
        if self.epsilon is None:
            raise UserError("pdu needs --epsilon: the retain loss that is allowed, such as the start model's.")
        self.dual, self.steps, self.warmup = self.alpha, 0, 0.0

    def prepare(self, context):
        self.warmup = self.dual_warmup * context.steps_per_epoch

    def forget(self, side):
        return self.gamma * side.token_mean(losses.logit_margin(side.logits, side.labels))

    def retain(self, side):
        return self.dual * self.violation(side)

    def violation(self, side):
        """nll - epsilon; the share of epsilon is this micro-batch's share of the tokens."""
        return side.token_mean(-side.token_logprobs - self.epsilon)

    def watched(self, sides):
        return {"violation": self.violation(sides["retain"]).detach()}

    def after_optimizer_step(self, means):
        self.steps += 1
        if self.steps > self.warmup:
            self.dual = max(0.0, self.dual + self.dual_step * means()["violation"])

    def state_dict(self):
        return {"dual": self.dual, "steps": self.steps}

    def load_state_dict(self, state):
        self.dual, self.steps = state["dual"], state["steps"]
