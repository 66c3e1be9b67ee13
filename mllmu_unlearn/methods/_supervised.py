"""Supervised fine-tuning (`mllmu finetune`): what makes a vanilla model. Not an unlearning method."""

from dataclasses import dataclass

from mllmu_unlearn.methods import Method


@dataclass
class Supervised(Method):
    title = "Supervised fine-tuning"
    formula = "nll(train)"
    paper = "vanilla model of MLLMU-Bench, arXiv 2410.22108"
    sides = ("train",)
    kind = "full"
    learning_rate = 2e-5
    name = "finetune"

    def train(self, side):
        return side.nll()
