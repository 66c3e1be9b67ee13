"""RMU: push a layer's activations on forget towards a random direction, keep those on retain."""

from dataclasses import dataclass

import torch

from mllmu_unlearn.methods import Method, hyper, register
from mllmu_unlearn.toolbox import losses


@register
@dataclass
class RMU(Method):
    """Run through LoRA; the original trains weights of three layers. The direction is drawn from the run's seed."""

    title = "Representation misdirection for unlearning"
    formula = (
        "gamma mean (h(forget) - steering u)^2 + alpha mean (h(retain) - h_ref(retain))^2, u a random unit vector, "
        "means over features and answer tokens"
    )
    paper = "arXiv 2403.03218"
    learning_rate = 1e-4

    layer: str = hyper(
        r"(language|text)_model\.layers\.7", "Regular expression of the one layer.", "open-unlearning RMU"
    )
    steering: float = hyper(2.0, "Length of the vector aimed at.", "open-unlearning RMU, its YAML; its class has 20")
    gamma: float = hyper(1.0, "Weight of the forget term.", "open-unlearning RMU")
    alpha: float = hyper(1.0, "Weight of the retain term.", "open-unlearning RMU, its YAML")

    def hidden_layers(self):
        return (self.layer,)

    def references(self):
        return {"retain": "hidden"}

    def prepare(self, context):
        width = context.model.config.get_text_config().hidden_size
        vector = torch.rand(width, generator=torch.Generator().manual_seed(context.seed))
        self.target = self.steering * vector / vector.norm()

    def forget(self, side):
        target = self.target.to(side.logits.device)
        return self.gamma * side.token_mean(losses.distance(side.hidden[self.layer], target, side.labels))

    def retain(self, side):
        kept = side.reference.hidden[self.layer]
        return self.alpha * side.token_mean(losses.distance(side.hidden[self.layer], kept, side.labels))
