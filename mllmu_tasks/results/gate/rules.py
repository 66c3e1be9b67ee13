"""What a policy is made of: rules with bounds, and how a bound is written."""

import math
import re
from dataclasses import dataclass, field

from mllmu_tasks.errors import UserError, did_you_mean, quoted
from mllmu_tasks.results.stats.contrast import Kind

SCORE = "score"
SIDES = ("baseline", "reference")
COUNTS = ("questions", "people")
MEASURED = ("answered", *COUNTS)
"""Facts of a run that are compared as they are; the others are estimates of how the model does on such people."""

_PLAIN = r"(?P<amount>\d+(?:\.\d*)?|\.\d+)"
_NUMBER = _PLAIN + r"\s*(?P<percent>%)?"
_SIDE = r"(?P<sides>[A-Za-z_]+(?:\s+or\s+[A-Za-z_]+)?)"
_ABSOLUTE = re.compile(_NUMBER)
_SHARE = re.compile(_NUMBER + r"\s*(?:\*|of|of the)\s*" + _SIDE)
_DIFFERENCE = re.compile(_SIDE + r"(?:\s*(?P<sign>[+-])\s*" + _PLAIN + ")?")


@dataclass(frozen=True)
class Bound:
    """A number, another run's score plus or minus a number, or a share of another run's score.

    sides: the runs it may refer to; the first that is given counts.
    """

    kind: Kind
    amount: float
    sides: tuple[str, ...] = ()
    text: str = ""

    @classmethod
    def parse(cls, value: object, where: str) -> "Bound":
        """`0.15`, `15 %`, `reference + 0.05`, `baseline or reference - 0.05`, `0.95 * baseline`, `95 % of baseline`."""
        if isinstance(value, (int, float)) and not isinstance(value, bool):
            return cls(Kind.SCORE, float(value), (), f"{value:g}")
        text = value.strip() if isinstance(value, str) else ""
        if match := _ABSOLUTE.fullmatch(text):
            return cls(Kind.SCORE, _amount(match), (), text)
        if match := _SHARE.fullmatch(text):
            return cls(Kind.SHARE, _amount(match), _sides(match["sides"], where), text)
        if match := _DIFFERENCE.fullmatch(text):
            amount = float(match["amount"] or 0)  # no percent: of a score or points of it, who knows
            return cls(
                Kind.DIFFERENCE, -amount if match["sign"] == "-" else amount, _sides(match["sides"], where), text
            )
        raise UserError(f"{where}: {quoted(value)} is no bound; write 0.15, reference + 0.05 or 95 % of baseline.")


def _amount(match: re.Match) -> float:
    return float(match["amount"]) / (100 if match["percent"] else 1)


def _sides(text: str, where: str) -> tuple[str, ...]:
    sides = tuple(text.split()[::2])
    for side in sides:
        if side not in SIDES:
            raise UserError(f"{where}: {quoted(side)} is no run to compare with.{did_you_mean(side, SIDES)}")
    return sides


@dataclass(frozen=True)
class Rule:
    """One demand. Either on a split (task and modality None: all of them pooled) or on any other benchmark.

    ceiling: the score may not be above the bound, else not below it. point: compare the numbers as they are. guard:
    stands beside a rule that pools modalities; its one modality may be shown to break the bound, and is not shown but
    only measured to hold it. source: where it stands, for errors.
    """

    bound: Bound
    ceiling: bool
    metric: str = SCORE
    split: str | None = None
    ratio: int | None = None
    task: str | None = None
    modality: str | None = None
    benchmark: str = ""
    point: bool = False
    guard: bool = False
    label: str = ""
    source: str = field(default="", compare=False)

    @property
    def name(self) -> str:
        """Short and unique enough: `forget cloze image`, `retain answered`, `mmmu_val mmmu_acc`."""
        if self.label:
            return f"{self.label} {self.modality}" if self.guard else self.label
        if self.benchmark:
            return f"{self.benchmark} {self.metric}"
        split = f"{self.split}_{self.ratio}" if self.ratio else self.split
        parts = (split, self.task, self.modality, self.metric if self.metric != SCORE else None)
        return " ".join(part for part in parts if part)

    @property
    def demand(self) -> str:
        return f"{'≤' if self.ceiling else '≥'} {self.bound.text}"


def checked(rule: Rule, own: tuple[str, ...]) -> Rule:
    """The rule, if what it asks makes sense. own: metrics that lie between 0 and 1. Raises UserError."""
    where, amount = rule.source, rule.bound.amount
    if not math.isfinite(amount):
        raise UserError(f"{where}: '{rule.bound.text}' is no finite number.")
    if rule.benchmark:
        return rule
    unit = rule.metric in (SCORE, "answered", *own)
    if unit and rule.bound.kind is Kind.SCORE and amount < 0:
        raise UserError(f"{where}: '{rule.bound.text}' is below 0, where no score lies.")
    if unit and rule.bound.kind is not Kind.SHARE and abs(amount) > 1:
        raise UserError(f"{where}: scores lie between 0 and 1; write {abs(amount) / 100:g} in '{rule.bound.text}'.")
    if rule.metric in MEASURED and rule.bound.kind is not Kind.SCORE:
        raise UserError(f"{where}: {rule.metric} is measured in one run; give a number instead of '{rule.bound.text}'.")
    if rule.metric in MEASURED and rule.guard:
        raise UserError(f"{where}: {rule.metric} is measured in one run; write 'modality: each' instead of 'guard'.")
    return rule
