"""SalUn: gradient difference on the weights that the forget loss depends on most, and on no others."""

from dataclasses import dataclass

from mllmu_tasks.errors import UserError
from mllmu_unlearn.methods import hyper, register
from mllmu_unlearn.methods._masked import MaskedMethod
from mllmu_unlearn.toolbox import saliency


@register
@dataclass
class SalUn(MaskedMethod):
    """The mask is the paper's, the update under it gradient difference; the paper's own for images, random labels,
    has no equal for answers. What lies outside the mask stays bit for bit."""

    title = "Saliency unlearning"
    formula = "-gamma nll(forget) + alpha nll(retain), on the weights with the highest |gradient of nll(forget)|"
    paper = "arXiv 2310.12508"
    kind = "shira"
    carriers = ("shira", "full")
    learning_rate = 1e-4

    share: float = hyper(0.01, "Share of the weights that may move.", "this package; the paper's images: 0.5")
    ranking: str = hyper("all", "Weights compete all together, or within their `layer`.", "the paper")
    gamma: float = hyper(1.0, "Weight of the forget term.", "open-unlearning GradDiff")
    alpha: float = hyper(1.0, "Weight of the retain term.", "open-unlearning GradDiff")

    def __post_init__(self):
        super().__post_init__()
        self.one_of(ranking=("all", "layer"))
        if not 0 < self.share < 1:
            raise UserError(f"--share is {self.share:g}; it must be above 0 and below 1.")

    def wrap(self, context):
        model, names = context.model, self.weights(context)
        with saliency.training(model, names):
            gradient = saliency.mean_gradient(model, names, self.batches(context, "forget"))
        scores = {name: value.abs_() for name, value in gradient.items()}
        groups = [{name: score} for name, score in scores.items()] if self.ranking == "layer" else [scores]
        masks = {name: mask for group in groups for name, mask in saliency.by_rank(group, self.share).items()}
        return self.carry(context, model, masks)

    def forget(self, side):
        return -self.gamma * side.nll()

    def retain(self, side):
        return self.alpha * side.nll()
