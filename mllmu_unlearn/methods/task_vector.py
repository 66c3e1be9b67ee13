"""Task-vector negation: learn the forget set even better, then go the same way backwards."""

from dataclasses import dataclass

import torch

from mllmu_unlearn.methods import Method, hyper, register


@register
@dataclass
class TaskVector(Method):
    """Exact on a LoRA: its update is B A times a factor, so scaling B by -scale gives -scale times the update."""

    title = "Task-vector negation"
    formula = "theta - scale (theta_forget - theta), theta_forget = fine-tuned on forget"
    paper = "arXiv 2212.04089"
    sides = ("forget",)
    learning_rate = 1e-4

    scale: float = hyper(1.0, "How far to go backwards, in lengths of the task vector.", "arXiv 2212.04089")

    def forget(self, side):
        return side.nll()

    def finish(self, context):
        with torch.no_grad():
            for name, weight in context.model.named_parameters():
                if "lora_B" in name:
                    weight.mul_(-self.scale)
