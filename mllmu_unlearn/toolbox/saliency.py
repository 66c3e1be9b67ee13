"""Which weights the data depend on: gradients of the loss, their squares, masks by ratio or by rank; and masks at work.

All in float32: a squared gradient of half precision is mostly 0. Tensors are keyed by parameter names.
"""

import math
import warnings
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from contextlib import contextmanager

import torch
from accelerate.utils import parse_flag_from_env
from peft import PeftModel, ShiraConfig, get_peft_model
from torch import nn

from mllmu_tasks.errors import UserError
from mllmu_unlearn.toolbox import adapter_sites
from mllmu_unlearn.toolbox.forward import Batch, forward
from mllmu_unlearn.toolbox.losses import mean_nll

Tensors = dict[str, torch.Tensor]
Combine = Callable[[torch.Tensor], torch.Tensor]


def mean_gradient(
    model: nn.Module, names: Collection[str], batches: Iterable[Batch], each: Combine = lambda gradient: gradient
) -> Tensors:
    """Mean over batches of each(gradient of the batch's mean nll), float32, in eval mode (no dropout).

    names: parameters that require gradients. One that a batch does not reach counts as 0 there. Raises UserError for
    no batch at all, and for gradients that are not finite: by their rank they would come first.
    """
    parameters = {name: p for name, p in model.named_parameters() if name in names}
    sums = {name: torch.zeros_like(p, dtype=torch.float32) for name, p in parameters.items()}
    count = 0
    model.eval()
    for batch in batches:
        model.zero_grad(set_to_none=True)
        with torch.enable_grad():
            mean_nll(forward(model, batch), batch["labels"]).backward()
        for name, parameter in parameters.items():
            if parameter.grad is not None:
                sums[name] += each(parameter.grad.float())
        count += 1
    model.zero_grad(set_to_none=True)
    if not count:
        raise UserError("there are no samples to tell salient weights by; change --modalities.")
    wrong = [name for name, total in sums.items() if not torch.isfinite(total).all()]
    if wrong:
        raise UserError(
            f"the gradient of {wrong[0]} is not finite, so salient weights cannot be told; use --dtype float32."
        )
    return {name: total.div_(count) for name, total in sums.items()}


def fisher(model: nn.Module, names: Collection[str], batches: Iterable[Batch]) -> Tensors:
    """Mean over batches of the squared batch gradient: the diagonal as MMUnlearner takes it."""
    return mean_gradient(model, names, batches, torch.square)


def refuse_spread() -> None:
    """Raise UserError where the weights are spread over processes: masks need each weight whole."""
    for name in ("FSDP", "DEEPSPEED"):
        if parse_flag_from_env(f"ACCELERATE_USE_{name}"):
            raise UserError(f"masks on weights do not work with {name}; use one process or plain data parallelism.")


@contextmanager
def training(model: nn.Module, names: Collection[str]) -> Iterator[None]:
    """Only these parameters require gradients inside; all as before outside."""
    before = {name: parameter.requires_grad for name, parameter in model.named_parameters()}
    for name, parameter in model.named_parameters():
        parameter.requires_grad_(name in names)
    try:
        yield
    finally:
        for name, parameter in model.named_parameters():
            parameter.requires_grad_(before[name])


def by_ratio(forget: Tensors, preserve: Tensors, threshold: float, epsilon: float) -> Tensors:
    """(forget + epsilon) / (preserve + epsilon) >= threshold of each entry; as published, True without any gradient."""
    return {
        name: (value + epsilon) / (preserve[name].to(value.device) + epsilon) >= threshold
        for name, value in forget.items()
    }


def by_rank(scores: Tensors, share: float) -> Tensors:
    """The best `share` of all entries together, ties included, entries of 0 never. Scores are at least 0, float32.

    The threshold is found by bisection over the bits of a float, which keep the order, so that nothing is sorted.
    """
    wanted = max(1, round(share * sum(value.numel() for value in scores.values())))
    low, high = 1, 0x7F800000  # the smallest number above 0, infinity
    while low < high:  # the largest threshold that still lets enough entries pass
        middle = (low + high + 1) // 2
        enough = sum(int((v.view(torch.int32) >= middle).sum()) for v in scores.values()) >= wanted
        low, high = (middle, high) if enough else (low, middle - 1)
    return {name: value.view(torch.int32) >= low for name, value in scores.items()}


def add_shira(model: nn.Module, masks: Tensors, revision: str | None) -> tuple[PeftModel, Tensors]:
    """The model with a sparse, trainable update of exactly the masked weights, and what keeps it exact.

    masks: weight name -> where. SHiRA holds r (in + out) entries in every layer, so each layer's mask is filled up
    with entries that must stay 0: the second result says for each adapter parameter which entries may train. Raises
    UserError if the densest layer needs more entries than another layer has.
    """
    modules = {name.removesuffix(".weight"): mask for name, mask in masks.items()}
    edges = {name: sum(mask.shape) for name, mask in modules.items()}
    r = max(1, max(math.ceil(int(mask.sum()) / edges[name]) for name, mask in modules.items()))
    small = [name for name, mask in modules.items() if r * edges[name] > mask.numel()]
    if small:
        raise UserError(
            f"a mask this dense does not fit SHiRA ({r * edges[small[0]]} entries for {small[0]}); lower the share of "
            "weights, rank within layers, or use --carrier full."
        )
    filled = {name: _filled(mask, r * edges[name]) for name, mask in modules.items()}
    place = {id(model.get_submodule(name)): mask for name, mask in filled.items()}
    with warnings.catch_warnings():  # of a mask type of our own; and PEFT still asks transformers by an old name
        warnings.filterwarnings("ignore", message="Argument self.mask_type")
        warnings.filterwarnings("ignore", message="`is_gradient_checkpointing`", category=FutureWarning)
        options = {"mask_type": "saliency", "task_type": "CAUSAL_LM", "revision": revision}
        config = ShiraConfig(r=r, target_modules=adapter_sites.pattern(modules), **options)
        config.mask_fn = lambda layer, r, **_: place[id(layer)].to(layer.weight)
        wrapped = get_peft_model(model, config)
        config.mask_fn = None  # not part of what is saved
    keep = {f"base_model.model.{name}.shira_weight.default": modules[name][filled[name]] for name in modules}
    return wrapped, keep


def _filled(mask: torch.Tensor, count: int) -> torch.Tensor:
    """The mask with further entries, the first free ones, up to `count`."""
    flat = mask.flatten().cpu()
    free = (~flat).nonzero().squeeze(1)[: count - int(flat.sum())]
    return flat.index_fill(0, free, True).view(mask.shape)


class Masked:
    """Masks at work: gradients are 0 outside them before they are clipped, and a step moves nothing outside them.

    AdamW moves weights by decay and momentum even where the gradient is 0; `hold` before the optimiser's step and
    `release` after it put those back, bit for bit. active: False lets everything pass (unmasked steps). Raises
    UserError if a mask fits no trainable parameter.
    """

    def __init__(self, model: nn.Module, masks: Tensors) -> None:
        self.parameters = {n: p for n, p in model.named_parameters() if n in masks and p.requires_grad}
        if set(self.parameters) != set(masks):
            missing = sorted(set(masks) - set(self.parameters))
            raise UserError(f"the mask of {missing[0]} fits no weight that trains.")
        self.masks = {name: masks[name].to(p.device) for name, p in self.parameters.items()}
        self.active = True
        self.held: Tensors = {}
        for name, parameter in self.parameters.items():
            parameter.register_hook(lambda gradient, name=name: self._cut(gradient, name))

    def _cut(self, gradient: torch.Tensor, name: str) -> torch.Tensor:
        return gradient * self.masks[name] if self.active else gradient

    def hold(self) -> None:
        if self.active:
            self.held = {name: p.detach()[~self.masks[name]] for name, p in self.parameters.items()}

    def release(self) -> None:
        with torch.no_grad():
            for name, values in self.held.items():
                self.parameters[name][~self.masks[name]] = values
        self.held = {}

    def packed(self) -> Tensors:
        """The masks as bits, for a checkpoint."""
        return {name: _packed(mask) for name, mask in self.masks.items()}

    def unpack(self, bits: Mapping[str, torch.Tensor]) -> None:
        for name, mask in self.masks.items():
            mask.copy_(_unpacked(bits[name], mask.shape))


_BITS = torch.tensor([1, 2, 4, 8, 16, 32, 64, 128], dtype=torch.uint8)


def _packed(mask: torch.Tensor) -> torch.Tensor:
    flat = nn.functional.pad(mask.flatten().cpu(), (0, -mask.numel() % 8)).view(-1, 8)
    return (flat * _BITS).sum(1).to(torch.uint8)


def _unpacked(bits: torch.Tensor, shape: torch.Size) -> torch.Tensor:
    return (bits[:, None] & _BITS).bool().flatten()[: shape.numel()].view(shape)
