"""MIP-Editor's pruning stage: switch off the neurons of each layer that the forget loss depends on most."""

from dataclasses import dataclass

from mllmu_tasks.errors import UserError
from mllmu_unlearn.methods import Method, hyper, register
from mllmu_unlearn.toolbox import neurons


@register
@dataclass
class MIPPrune(Method):
    """The first of MIP-Editor's two stages, as Open-MMunlearning has it; the second one trains a LoRA as RMU does."""

    title = "Pruning of influential paths (MIP-Editor, first stage)"
    formula = "zero the top_k neurons of each layer with the highest mean |a dL/da|, L = nll(forget)"
    paper = "arXiv 2511.06793"
    sides = ("forget",)
    kind = "ia3"
    trains = False

    top_k: int = hyper(5, "Neurons to switch off in each layer.", "Open-MMunlearning")
    batches: int = hyper(4, "Batches of four forget samples of each modality to measure on.", "Open-MMunlearning")
    towers: str = hyper("language,vision", "Where to prune.", "Open-MMunlearning")

    def __post_init__(self):
        if self.top_k < 1 or self.batches < 1:
            raise UserError("--top_k and --batches must be 1 or more.")
        self.parts = neurons.parts(self.towers)

    def places(self, context):
        return [name for tower in self.parts for name in neurons.last_projections(context.model, tower)]

    def wrap(self, context):
        self.names = neurons.of_towers(context, self.parts)
        return neurons.wrap(context.model, self.names, context.revision)

    def finish(self, context):
        for name, score in neurons.attribution(context, "forget", self.names, self.batches).items():
            neurons.switch_off(context.model, neurons.top({name: score}, self.top_k / len(score)))
