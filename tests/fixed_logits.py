"""Fixed logits in float64, and what they come to by plain arithmetic."""

import math

import torch

from mllmu_unlearn.methods import Method, get
from mllmu_unlearn.toolbox import losses
from mllmu_unlearn.toolbox.losses import IGNORED
from mllmu_unlearn.toolbox.side import Counts, Reference, Side

LABELS = torch.tensor([[0, 2, IGNORED], [1, IGNORED, IGNORED]])


def fixed(requires_grad: bool = False, seed: int = 0) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    logits = torch.randn(2, 3, 4, dtype=torch.float64, generator=generator)
    return logits.requires_grad_(requires_grad)


def probability(logits: torch.Tensor, row: int, place: int, token: int) -> float:
    exponents = [math.exp(x) for x in logits[row, place].tolist()]
    return exponents[token] / sum(exponents)


def side_of(logits, reference=None, labels=LABELS, by_batch=False) -> Side:
    scored = labels != IGNORED
    counts = Counts(scored.sum(), scored.any(-1).sum(), torch.tensor(1))
    return Side(logits, labels, counts, reference or Reference(), by_batch=by_batch)


def answers(logits) -> list[list[float]]:
    """log p of the scored tokens, row by row, without torch."""
    return [
        [math.log(probability(logits, r, k, int(t))) for k, t in enumerate(row) if t != IGNORED]
        for r, row in enumerate(LABELS)
    ]


def mean_nll(logits) -> float:
    tokens = [p for row in answers(logits) for p in row]
    return -sum(tokens) / len(tokens)


def terms(name: str, *, official: bool = False, **hyper) -> tuple[dict[str, float], torch.Tensor]:
    """Terms of a method on fixed logits, and the gradient at the forget (or else retain) logits."""
    cls = get(name)
    if official:
        hyper = {**cls.official.hyper_parameters, **hyper}
    method = cls(**hyper)
    logits, reference = fixed(requires_grad=True), fixed(seed=1)
    given = Reference(reference, losses.sequence_logprobs(reference, LABELS))
    sides = {side: side_of(logits, given, by_batch=official) for side in method.sides}
    made = method.official_terms(sides) if official else method.terms(sides)
    torch.stack(list(made.values())).sum().backward()
    return {k: v.item() for k, v in made.items()}, logits.grad


def sides_of(method: Method, seeds: dict[str, int]) -> dict[str, Side]:
    """Sides with logits of their own (seed per side, with gradient) and the reference of seed + 10."""
    made = {}
    for side, seed in seeds.items():
        reference = fixed(seed=seed + 10)
        given = Reference(reference, losses.sequence_logprobs(reference, LABELS))
        made[side] = side_of(fixed(requires_grad=True, seed=seed), given)
    assert set(made) == set(method.sides)
    return made
