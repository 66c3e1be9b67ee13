"""UNDIAL: self-distillation towards the start model with the true token's logit lowered."""

from dataclasses import dataclass

from mllmu_unlearn.methods import Method, hyper, register
from mllmu_unlearn.toolbox import losses


@register
@dataclass
class Undial(Method):
    """Bounded by construction: the target is a distribution, so training longer does not destroy."""

    title = "Unlearning by distillation with adjusted logits"
    formula = "CE(softmax(z_ref - beta onehot(y)), theta)(forget)"
    paper = "arXiv 2402.10052"
    sides = ("forget",)
    learning_rate = 1e-4
    epochs = 10.0

    beta: float = hyper(10.0, "How far the true token's logit is lowered.", "open-unlearning UNDIAL")

    def references(self):
        return {"forget": "logits"}

    def forget(self, side):
        return side.token_mean(losses.undial(side.logits, side.reference.logits, side.labels, self.beta))
