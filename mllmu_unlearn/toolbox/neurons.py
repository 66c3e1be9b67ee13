"""Neurons of the MLPs: what they do on data, how they rank, and the IA3 adapter that switches some of them off.

A neuron is a hidden unit of an MLP, an input channel of its last projection (`down_proj`, `fc2`). An IA3 vector of
zeros and ones on that input equals zeroed columns of the projection.
"""

import math
import re
import warnings
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import chain

import torch
from peft import IA3Config, PeftModel, get_peft_model
from torch import nn

from mllmu_tasks.errors import UserError, did_you_mean
from mllmu_tasks.models.families import family_of
from mllmu_unlearn.toolbox import adapter_sites
from mllmu_unlearn.toolbox.context import Context
from mllmu_unlearn.toolbox.forward import forward
from mllmu_unlearn.toolbox.losses import mean_nll

TOWERS = ("language", "vision")


def last_projections(model: nn.Module, tower: str) -> list[str]:
    """Names of the last projections of the tower's MLPs, in model order. Raises UserError if there is none.

    Of the vision tower only the layers that the language model reads: LLaVA-1.5 runs one more, for nothing.
    """
    ends = "|".join(family_of(model.config.model_type).mlp_ends)
    form = re.compile(rf".*\.\d+\.mlp\.({ends})")  # in a numbered layer: not in a pooling head
    found = [name for name in adapter_sites.modules(model, [tower]) if form.fullmatch(name)]
    if tower == "vision":
        found = [name for name in found if int(re.search(r"\.(\d+)\.mlp\.", name)[1]) < _layers_read(model)]
    if not found:
        raise UserError(f"{type(model).__name__} has no MLP of a known form in its {tower} part.")
    return found


def _layers_read(model: nn.Module) -> float:
    """How many layers of the vision tower the output of `vision_feature_layer` has passed; all without that key."""
    config = model.config.to_dict()
    layer = config.get("vision_feature_layer")
    if layer is None:
        return math.inf
    depth = config["vision_config"]["num_hidden_layers"]
    return max(n if n >= 0 else depth + 1 + n for n in ([layer] if isinstance(layer, int) else layer))


def parts(towers: str) -> tuple[str, ...]:
    """`language,vision` -> the towers. Raises UserError for anything else."""
    named = tuple(t.strip() for t in towers.split(",") if t.strip())
    for tower in named:
        if tower not in TOWERS:
            raise UserError(f"unknown tower '{tower}'.{did_you_mean(tower, TOWERS)}")
    if not named:
        raise UserError(f"--towers names none of {', '.join(TOWERS)}.")
    return named


def of_towers(context: Context, towers: Iterable[str]) -> dict[str, str]:
    """Last projection -> its tower; without image samples the vision tower is left out, for nothing runs in it.

    Raises UserError if nothing is left.
    """
    seen = {sample.modality for samples in context.sides.values() for sample in samples}
    used = [tower for tower in towers if tower == "language" or "image" in seen]
    if not used:
        raise UserError("the vision tower is to be pruned, but no training pair has an image; change --modalities.")
    return {name: tower for tower in used for name in last_projections(context.model, tower)}


@dataclass
class Activity:
    """Sums over the tokens of one data set, of each neuron (float64). count: tokens. above: |z| > threshold."""

    count: int
    absolute: torch.Tensor
    above: torch.Tensor
    total: torch.Tensor
    energy: torch.Tensor

    @classmethod
    def silent(cls, width: int) -> "Activity":
        return cls(0, *(torch.zeros(width, dtype=torch.float64) for _ in range(4)))

    def add(self, values: torch.Tensor, threshold: float) -> None:
        """values: (tokens, neurons)."""
        values = values.double()
        self.count += len(values)
        self.absolute += values.abs().sum(0).cpu()
        self.above += (values.abs() > threshold).sum(0).cpu()
        self.total += values.sum(0).cpu()
        self.energy += values.square().sum(0).cpu()

    @property
    def mean_absolute(self) -> torch.Tensor:
        return self.absolute / max(self.count, 1)

    @property
    def variance(self) -> torch.Tensor:
        count = max(self.count, 1)
        return (self.energy / count - (self.total / count).square()).clamp(min=0)


def importance(multi: Activity, text: Activity, epsilon: float) -> torch.Tensor:
    """MANU's I_abs + I_freq + I_var + I_rms of each neuron on one data set, each function of the two modalities.

    A modality without data is silent (zeros). Paper: arXiv 2502.15910.
    """

    def contrast(one: torch.Tensor, other: torch.Tensor) -> torch.Tensor:
        return (one - other).abs() / (one + other + epsilon)

    absolute = contrast(multi.mean_absolute, text.mean_absolute)
    frequency = contrast(multi.above, text.above)
    variance = (multi.variance + text.variance).sqrt()
    rms = contrast(multi.energy, text.energy).sqrt()
    return absolute + frequency + variance + rms


@contextmanager
def _inputs(context: Context, names: Iterable[str], take) -> Iterator[None]:
    """take(name, input of that module) at every forward inside."""
    base = context.model.get_base_model() if isinstance(context.model, PeftModel) else context.model
    hook = lambda name: lambda module, args: take(name, args[0])
    handles = [base.get_submodule(name).register_forward_pre_hook(hook(name)) for name in names]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


def measure(
    context: Context, side: str, modality: str, names: Mapping[str, str], threshold: float, at_most: int
) -> dict[str, Activity]:
    """Activity of the MLPs that run on this data. names: last projection -> its tower. Padding does not count."""
    found: dict[str, Activity] = {}
    padding: dict[str, torch.Tensor] = {}

    def take(name: str, values: torch.Tensor) -> None:
        here = found.setdefault(name, Activity.silent(values.shape[-1]))
        real = padding["attention_mask"].bool() if names[name] == "language" else ...
        here.add(values[real].reshape(-1, values.shape[-1]), threshold)

    context.model.eval()
    with torch.no_grad(), _inputs(context, names, take):
        for batch in context.batches(side, context.batch_size, modality, at_most):
            padding["attention_mask"] = batch["attention_mask"]
            forward(context.model, batch)
    return found


def attribution(context: Context, side: str, names: Mapping[str, str], batches: int) -> dict[str, torch.Tensor]:
    """Mean |a dL/da| of each neuron over `batches` batches of four of each modality, evenly spaced; L is a batch's nll.

    In the language part only over the positions that predict answer tokens. names: as in `measure`.
    """
    caught: dict[str, torch.Tensor] = {}
    sums: dict[str, torch.Tensor] = {}
    counts: dict[str, int] = {}

    def take(name: str, values: torch.Tensor) -> None:
        if not values.requires_grad:
            values.requires_grad_()
        values.retain_grad()
        caught[name] = values

    context.model.eval()
    for batch in chain.from_iterable(context.batches(side, 4, which, batches * 4) for which in ("image", "text")):
        with torch.enable_grad(), _inputs(context, names, take):
            logits = forward(context.model, batch)
            mean_nll(logits, batch["labels"]).backward()
        scored = torch.zeros_like(batch["input_ids"], dtype=torch.bool)
        scored[:, batch["keep"]] = batch["labels"] != -100
        for name, values in caught.items():
            scores = (values.detach().float() * values.grad.float()).abs()
            scores = scores[scored] if names[name] == "language" else scores.flatten(0, -2)
            sums[name] = sums.get(name, 0) + scores.mean(0).cpu()
            counts[name] = counts.get(name, 0) + 1
        caught.clear()
        context.model.zero_grad(set_to_none=True)
    return {name: total / counts[name] for name, total in sums.items()}


def top(scores: Mapping[str, torch.Tensor], share: float) -> dict[str, torch.Tensor]:
    """name -> bool mask of the best `share` of all neurons together (at least one); ties: the earlier neuron."""
    values = torch.cat(list(scores.values()))
    chosen = torch.zeros(len(values), dtype=torch.bool)
    chosen[values.argsort(descending=True, stable=True)[: max(1, round(share * len(values)))]] = True
    return dict(zip(scores, chosen.split([len(v) for v in scores.values()]), strict=True))


def wrap(model: nn.Module, names: Iterable[str], revision: str | None) -> PeftModel:
    """The model with an IA3 vector of ones on the input of each of these modules; nothing trains."""
    place = adapter_sites.pattern(names)
    config = IA3Config(target_modules=place, feedforward_modules=place, task_type="CAUSAL_LM", revision=revision)
    with warnings.catch_warnings():  # PEFT still asks transformers by an old name
        warnings.filterwarnings("ignore", message="`is_gradient_checkpointing`", category=FutureWarning)
        return get_peft_model(model, config).requires_grad_(False)


def switch_off(model: PeftModel, masks: Mapping[str, torch.Tensor]) -> int:
    """Set the vectors of these modules to 0 where the mask is True; returns how many neurons that are."""
    for name, mask in masks.items():
        (vector,) = model.get_base_model().get_submodule(name).ia3_l.values()
        vector.data[0, mask.to(vector.device)] = 0.0
    return sum(int(mask.sum()) for mask in masks.values())
