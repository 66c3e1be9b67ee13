"""CE-U: cross-entropy with the model's own distribution without the true token."""

from dataclasses import dataclass

from mllmu_tasks.errors import UserError
from mllmu_unlearn.methods import Method, hyper, register
from mllmu_unlearn.toolbox import losses


@register
@dataclass
class CEU(Method):
    """No retain term and no reference. The first token of an answer is left alone by default."""

    title = "Cross-entropy unlearning"
    formula = "CE(softmax(z, true token left out), theta)(forget)"
    paper = "arXiv 2503.01224"
    sides = ("forget",)
    learning_rate = 1e-5
    epochs = 10.0

    skip: int = hyper(1, "First tokens of each answer that are left alone: 0 or 1.", "open-unlearning CE-U")

    def __post_init__(self):
        # With one token skipped every answer keeps its stop token, so the count of what is left is known.
        if self.skip not in (0, 1):
            raise UserError(f"--skip is 0 or 1, not {self.skip}.")

    def forget(self, side):
        used = side.scored & (side.scored.cumsum(-1) > self.skip)
        total = (losses.ceu(side.logits, side.labels) * used).sum()
        return total / (side.counts.tokens - self.skip * side.counts.sequences)
