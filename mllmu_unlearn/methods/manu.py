"""MANU: switch off the MLP neurons that matter more to the forget than to the retain data; nothing is trained."""

from dataclasses import dataclass

from mllmu_tasks.errors import UserError, did_you_mean
from mllmu_unlearn.methods import Method, hyper, register
from mllmu_unlearn.toolbox import neurons


@register
@dataclass
class MANU(Method):
    """Each importance compares a neuron's activity on image + text with that on text alone. A modality that the
    request does not hold, or that a tower never sees, counts as silence."""

    title = "Modality-aware neuron unlearning"
    formula = "zero the neurons with the highest I(forget) / (I(retain) + epsilon), I = I_abs + I_freq + I_var + I_rms"
    paper = "arXiv 2502.15910"
    kind = "ia3"
    trains = False

    percent: float = hyper(3.0, "Share of a tower's neurons to switch off.", "the paper's best balance, of 1 to 5")
    threshold: float = hyper(0.1, "A neuron counts as active where |z| is above it.", "Open-MMunlearning")
    epsilon: float = hyper(1e-5, "Keeps divisions finite.", "Open-MMunlearning")
    ranking: str = hyper("tower", "Neurons compete within their tower, or within their layer.", "Open-MMunlearning")
    towers: str = hyper("language,vision", "Where to prune.", "the paper")
    at_most: int = hyper(0, "Samples to measure on, of each side and modality; 0 = all.", "this package")

    def __post_init__(self):
        if not 0 < self.percent < 100:
            raise UserError(f"--percent is {self.percent:g}; it must be above 0 and below 100.")
        if self.ranking not in ("tower", "layer"):
            raise UserError(f"--ranking '{self.ranking}' is unknown.{did_you_mean(self.ranking, ('tower', 'layer'))}")
        self.not_negative("at_most")
        self.above_zero("epsilon")
        self.parts = neurons.parts(self.towers)

    def places(self, context):
        return [name for tower in self.parts for name in neurons.last_projections(context.model, tower)]

    def wrap(self, context):
        self.names = neurons.of_towers(context, self.parts)
        return neurons.wrap(context.model, self.names, context.revision)

    def finish(self, context):
        forget, retain = (self.importance(context, side) for side in ("forget", "retain"))
        scores = {name: value / (retain[name] + self.epsilon) for name, value in forget.items() if name in retain}
        for tower in self.parts:
            mine = {name: score for name, score in scores.items() if self.names[name] == tower}
            groups = [{name: score} for name, score in mine.items()] if self.ranking == "layer" else [mine]
            for group in filter(None, groups):
                neurons.switch_off(context.model, neurons.top(group, self.percent / 100))

    def importance(self, context, side):
        """Of the neurons that ran at all on this side."""
        multi, text = (
            neurons.measure(context, side, modality, self.names, self.threshold, self.at_most)
            for modality in ("image", "text")
        )
        silent = lambda name: neurons.Activity.silent(len((multi.get(name) or text[name]).total))
        return {
            name: neurons.importance(multi.get(name) or silent(name), text.get(name) or silent(name), self.epsilon)
            for name in self.names
            if name in multi or name in text
        }
