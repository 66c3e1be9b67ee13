"""How much of the data may be missing before a number is about something else: one bound for both halves.

A question that cannot be asked and a training pair that cannot be learnt are left out, counted and named. Where they
are more than the bound, nothing is asked or trained.
"""

import os
from collections import Counter
from collections.abc import Iterable, Mapping

from mllmu_tasks.errors import UserError, quoted

MAY_LOSE = 0.05
"""Of a leaf's questions, or of a side's training pairs. The smallest forget set has 25 people: one of them may be
damaged (4 %, and 4.3 % of the cloze questions that two examples leave), two may not (8 %). MLLMU-Bench itself lacks
0.2 % of the classification questions of retain_95, one person's."""
VARIABLE = "MLLMU_MAY_LOSE"


def may_lose(environ: Mapping[str, str] = os.environ) -> float:
    """The share of a leaf's questions, or of a side's training pairs, that may be left out. Raises UserError."""
    text = environ.get(VARIABLE, "").strip() or str(MAY_LOSE)
    try:
        share = float(text)
    except ValueError:
        share = -1.0
    if not 0 <= share <= 1:
        raise UserError(f"{VARIABLE}={quoted(text)} is not a share between 0 and 1.")
    return share


def kind(reason: str) -> str:
    """A reason without its particulars, which stand in brackets at its end."""
    return reason.split(" (")[0]


def counted(reasons: Iterable[tuple[str, int]]) -> dict[str, int]:
    """(reason, how many are lost by it) -> kind of reason: how many, the greatest number first."""
    found: Counter[str] = Counter()
    for reason, count in reasons:
        found[kind(reason)] += count
    return dict(found.most_common())


def refuse_losses(what: str, noun: str, lost: int, left: int, reasons: Mapping[str, int], bound: float) -> None:
    """Raise UserError if more than `bound` of (lost + left) is lost. reasons: why -> how often."""
    if lost <= bound * (lost + left):
        return
    why = "; ".join(f"{reason}: {count}" for reason, count in list(reasons.items())[:3])
    raise UserError(
        f"{what}: {lost} of {lost + left} {noun} cannot be used ({why}), more than {bound:.0%}; mend the data "
        f"(`mllmu data validate` names every one), or set {VARIABLE}=1 to go on with the rest."
    )
