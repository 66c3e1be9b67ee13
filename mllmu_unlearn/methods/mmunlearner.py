"""MMUnlearner: steps of ascent on the weights salient for forget but not for what is kept; plain steps on retain."""

from dataclasses import dataclass, replace

from mllmu_unlearn.methods import Layout, hyper, register
from mllmu_unlearn.methods._masked import MaskedMethod
from mllmu_unlearn.toolbox import adapter_sites, saliency


@register
@dataclass
class MMUnlearner(MaskedMethod):
    """Saliency is the ratio of squared batch gradients. A request for images alone keeps the text about everyone, the
    forgotten people too, as the paper wants. full: the retain steps are unmasked, the result is dense. lora: the same
    with masks on the LoRA matrices. shira: the retain steps are masked, too, so that the result is sparse."""

    title = "MMUnlearner"
    formula = "-gamma nll(forget) where F(forget) / F(kept) >= threshold; nll(retain) everywhere, in steps of its own"
    paper = "arXiv 2502.11051"
    sides = ("forget", "retain", "biographies")
    kind = "full"
    carriers = ("full", "lora", "shira")
    learning_rate = 1e-5
    epochs = 1.0

    threshold: float = hyper(1.0, "Ratio from which on a weight counts as salient.", "MMUnlearner's code")
    epsilon: float = hyper(1e-15, "Added to both squared gradients.", "MMUnlearner's code")
    gamma: float = hyper(1.0, "Weight of the forget term.", "MMUnlearner's code (forget_alpha)")

    def layout(self, sides):
        return Layout(sides, (("forget",), ("retain",)), interleaved=True)

    def lora(self, lora):
        targets = {"language": ("language",), "vision": ("vision",), "both": ("language", "vision")}
        return replace(lora, targets=targets[self.modules])

    def places(self, context):
        return adapter_sites.modules(context.model, context.lora.targets) if self.uses_lora else super().places(context)

    def wrap(self, context):
        names, model = self.weights(context), context.model
        language = tuple(f"{name}." for name in adapter_sites.of_part(model, "language"))
        if self.uses_lora:
            model = adapter_sites.add_lora(model, context.lora, context.revision)
            names = [name for name, parameter in model.named_parameters() if parameter.requires_grad]
        inner = {name for name in names if name.removeprefix("base_model.model.").startswith(language)}
        with saliency.training(model, names):
            forget = saliency.fisher(model, names, self.batches(context, "forget"))
            forget = {name: value.cpu() for name, value in forget.items()}  # room for the other one
            kept = saliency.fisher(model, names, self.batches(context, "retain"))
            if "text" not in context.modalities:
                self.add_text(context, model, kept, inner)
        return self.carry(context, model, saliency.by_ratio(forget, kept, self.threshold, self.epsilon))

    def add_text(self, context, model, kept, names):
        """Of the language part: the mean over the batches of retain and of the text about everyone."""
        text = saliency.fisher(model, names, self.batches(context, "biographies"))
        one, other = (self.batch_count(context, side) for side in ("retain", "biographies"))
        for name, value in text.items():
            kept[name].mul_(one).add_(value, alpha=other).div_(one + other)

    def before_forward(self, model, sides):
        self.masked.active = "forget" in sides or self.kind == "shira"

    def forget(self, side):
        return -self.gamma * side.nll()

    def retain(self, side):
        return side.nll()
