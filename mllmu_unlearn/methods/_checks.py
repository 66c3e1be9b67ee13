"""Mistakes of a method's author, said in one sentence before any model is loaded.

`check_declaration` runs whenever a method is registered; `check_loss` tries the loss on a few numbers
(`mllmu methods FILE --check`).
"""

import math
from collections.abc import Iterable, Mapping
from dataclasses import fields
from typing import TYPE_CHECKING

from mllmu_tasks.errors import UserError
from mllmu_unlearn.methods._base import Method

if TYPE_CHECKING:
    from mllmu_unlearn.toolbox.side import Side

DECLARED = ("title", "formula", "paper")
ROWS, TOKENS, WORDS, WIDTH = 4, 5, 11, 6
CLOSE = 1e-5


def check_declaration(kind: type[Method], flags: Iterable[str] = ()) -> None:
    """Raises UserError for the first mistake in how the class is written. flags: of the training command."""
    problem = next(_mistakes(kind, set(flags)), None)
    if problem:
        raise UserError(f"method class {kind.__name__} {problem}")


def _mistakes(kind: type[Method], flags: set[str]):
    declared = {name for base in kind.__mro__ for name in vars(base)}
    missing = [word for word in DECLARED if word not in declared]
    if missing:
        yield f"does not say its {', '.join(missing)}."
    if "__dataclass_fields__" not in vars(kind):
        yield "is no dataclass; put @dataclass above it."
    functions = {name for name, value in vars(Method).items() if callable(value)} - {"forget", "retain"}
    for side in kind.sides:
        if side in functions:
            yield f"has a side '{side}', which is a function of Method; give the side another name."
    own_terms = kind.terms is not Method.terms
    for side in () if own_terms or not kind.trains or kind.layout is not Method.layout else kind.sides:
        if getattr(kind, side, None) in (None, Method.forget, Method.retain):
            yield f"has no loss for its side '{side}'; write `def {side}(self, side)`, or leave it out of `sides`."
    for field in fields(kind) if "__dataclass_fields__" in vars(kind) else ():
        if field.name in functions:
            yield f"has a hyper-parameter '{field.name}', which is a function of Method; rename it."
        if field.name in flags:
            yield f"has a hyper-parameter '{field.name}', which is a flag of `mllmu unlearn` already; rename it."


def check_loss(method: Method) -> str:
    """Whether one batch and two halves of it give the same loss, as accumulation and several GPUs need it.

    Returns what was found, in one sentence. Raises UserError if they differ, or a term is no finite scalar.
    """
    if not method.trains:
        return "trains nothing: no loss to try"
    try:
        whole = _terms(method, [slice(0, ROWS)])
        halves = _terms(method, [slice(0, ROWS // 2), slice(ROWS // 2, ROWS)])
    except (AttributeError, KeyError, TypeError, NotImplementedError) as error:
        reason = f"{type(error).__name__}: {error}"
        return f"its loss needs more than logits and labels ({reason}): try it with --max_steps 2 on mini:base"
    for name, value in whole.items():
        if not math.isfinite(value):
            raise UserError(f"the term '{name}' of method '{method.name}' is {value} on finite logits.")
        if abs(value - halves[name]) > CLOSE * max(1.0, abs(value)):
            raise UserError(
                f"the term '{name}' of '{method.name}' is {value:.6g} on one batch and {halves[name]:.6g} on its two "
                "halves, so accumulation and several GPUs would train another loss; use side.token_mean, sequence_mean "
                "or nll instead of .mean()."
            )
    return f"one batch and its halves give the same {', '.join(f'{name} {value:.4g}' for name, value in whole.items())}"


def _terms(method: Method, parts: list[slice]) -> Mapping[str, float]:
    """Each term, summed over the parts of one fixed batch, which share its counts."""
    sums: dict[str, float] = {}
    for part in parts:
        sides = {name: _side(method, name, place, part, len(parts)) for place, name in enumerate(method.sides)}
        for name, value in method.terms(sides).items():
            sums[name] = sums.get(name, 0.0) + float(value.detach())
    return sums


def _side(method: Method, name: str, place: int, part: slice, batches: int) -> "Side":
    """Rows of unequal length, so that means of means differ from the mean."""
    import torch

    from mllmu_unlearn.toolbox.losses import IGNORED, token_logprobs
    from mllmu_unlearn.toolbox.side import Counts, Reference, Side

    draw = torch.Generator().manual_seed(place)
    logits = torch.randn(ROWS, TOKENS, WORDS, generator=draw, dtype=torch.float64)
    other = torch.randn(ROWS, TOKENS, WORDS, generator=draw, dtype=torch.float64)
    labels = torch.randint(WORDS, (ROWS, TOKENS), generator=draw)
    for row in range(ROWS):
        labels[row, row + 1 :] = IGNORED
    scored = labels != IGNORED
    counts = Counts(*(torch.tensor(float(n)) for n in (scored.sum(), scored.any(-1).sum(), batches)))
    states = (2, ROWS, TOKENS, WIDTH)  # the model's and the reference's
    hidden = {layer: torch.randn(states, generator=draw, dtype=torch.float64) for layer in method.hidden_layers()}
    wanted = method.references().get(name)
    reference = Reference(
        logits=other[part] if wanted == "logits" else None,
        logprobs=token_logprobs(other, labels).sum(-1)[part] if wanted == "logprobs" else None,
        hidden={layer: both[1][part] for layer, both in hidden.items()} if wanted == "hidden" else {},
    )
    return Side(logits[part], labels[part], counts, reference, {layer: both[0][part] for layer, both in hidden.items()})
