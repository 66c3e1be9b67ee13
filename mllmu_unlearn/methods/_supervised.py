"""Supervised fine-tuning (`mllmu finetune`): what makes a vanilla model. Not an unlearning method."""

from dataclasses import dataclass

from mllmu_unlearn.methods import Method

WEIGHTS = ("tokens", "answers")


@dataclass
class Supervised(Method):
    """weight: `tokens`, every answer token counts equally; `answers`, every answer does, however short.

    use_peft: LoRA trains instead of all weights.
    """

    title = "Supervised fine-tuning"
    formula = "nll(train)"
    paper = "vanilla model of MLLMU-Bench, arXiv 2410.22108"
    sides = ("train",)
    kind = "full"
    learning_rate = 2e-5
    name = "finetune"

    weight: str = "tokens"
    use_peft: bool = False

    def __post_init__(self):
        self.kind = "lora" if self.use_peft else "full"

    def trainable(self, context):
        return super().trainable(context) if self.uses_lora else sum(p.numel() for p in context.model.parameters())

    def train(self, side):
        if self.weight == "tokens":
            return side.nll()
        return side.sequence_mean(-side.sequence_logprobs / side.scored.sum(-1).clamp(min=1))
