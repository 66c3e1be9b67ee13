"""What methods share that train masked weights: where, how the result is carried, the masks at work."""

from collections.abc import Collection
from dataclasses import dataclass
from itertools import chain

from mllmu_tasks.errors import UserError, did_you_mean
from mllmu_unlearn.methods._base import Method, hyper
from mllmu_unlearn.toolbox import adapter_sites, saliency

MODULES = ("language", "vision", "both")
MODALITIES = ("image", "text")
SIZE = 4
"""Samples in a batch whose gradient is taken: as in MMUnlearner's code, whose squares depend on it."""


@dataclass
class MaskedMethod(Method):
    """`carriers[0]` is the default. A result of kind `full` differs from the start model in the masked places only,
    if every step is masked; a SHiRA holds exactly them, what it is filled up with stays 0."""

    modules: str = hyper("both", "Linear layers that may move: language, vision (tower, projector), both.", "the paper")
    carrier: str = hyper("", "Kind of the result; empty = the first that `mllmu methods NAME` lists.", "the method")
    at_most: int = hyper(0, "Samples to take gradients of, of each side and modality; 0 = all.", "this package")

    def __post_init__(self):
        self.carrier = self.carrier or self.carriers[0]
        self.one_of(modules=MODULES, carrier=self.carriers)
        self.not_negative("at_most")
        self.kind = self.carrier

    def one_of(self, **known: Collection[str]) -> None:
        for name, values in known.items():
            value = getattr(self, name)
            if value not in values:
                raise UserError(f"--{name} '{value}' is unknown.{did_you_mean(value, values)}")

    def places(self, context):
        return adapter_sites.of_part(context.model, self.modules)

    def batches(self, context, side):
        """Of SIZE samples of one modality each, whatever the processes."""
        return chain.from_iterable(context.batches(side, SIZE, which, self.at_most) for which in MODALITIES)

    def batch_count(self, context, side):
        """How many `batches` yields, without preparing any."""
        return sum(-(-len(context.indices(side, which, self.at_most)) // SIZE) for which in MODALITIES)

    def weights(self, context) -> list[str]:
        """Names of the weights that compete for the mask; the model is where gradients are wanted."""
        saliency.refuse_spread()
        context.model.to(context.device)
        return [f"{name}.weight" for name in self.places(context)]

    def carry(self, context, model, masks):
        """The model that trains under the masks, which are keyed by the names of parameters of `model`."""
        if not any(mask.any() for mask in masks.values()):
            raise UserError("no weight is salient; lower --threshold, or look at the samples.")
        if self.kind == "shira":
            model, masks = saliency.add_shira(model, masks, context.revision)
        elif self.kind == "full":
            adapter_sites.train_only(model, masks)
        self.masked = saliency.Masked(model, masks)
        return model

    def before_optimizer_step(self, model):
        self.masked.hold()

    def after_optimizer_step(self, means):
        self.masked.release()

    def state_dict(self):
        return {"masks": self.masked.packed()}

    def load_state_dict(self, state):
        self.masked.unpack(state["masks"])
