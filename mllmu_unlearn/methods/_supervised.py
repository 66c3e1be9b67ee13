"""Supervised fine-tuning (`mllmu finetune`): what makes a vanilla model. Not an unlearning method."""

from dataclasses import dataclass

from mllmu_unlearn.methods import Method

WEIGHTS = ("tokens", "answers")


@dataclass
class Supervised(Method):
    """weight: `tokens`, every answer token counts equally; `answers`, every answer does, however short."""

    title = "Supervised fine-tuning"
    formula = "nll(train)"
    paper = "vanilla model of MLLMU-Bench, arXiv 2410.22108"
    sides = ("train",)
    kind = "full"
    learning_rate = 2e-5
    name = "finetune"

    weight: str = "tokens"

    def trainable(self, model, config):
        return super().trainable(model, config) if config.uses_lora else sum(p.numel() for p in model.parameters())

    def train(self, side):
        if self.weight == "tokens":
            return side.nll()
        return side.sequence_mean(-side.sequence_logprobs / side.scored.sum(-1).clamp(min=1))
