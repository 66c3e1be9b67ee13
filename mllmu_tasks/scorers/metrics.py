"""What a number means: its direction, bounds and unit of clustering; as results files hold it, and read back."""

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from mllmu_tasks.errors import UserError
from mllmu_tasks.strict_json import expect, expect_number, is_finite

FACTS = ("mllmu_answered", "mllmu_by_person", "mllmu_facts")
COLUMNS = (
    *("benchmark", "split", "role", "ratio", "task", "modality", "person", "question_index", "question", "options"),
    *("prediction", "gold", "answered", "parsed", "score", "questions", "people"),
)
"""What every sample has or a rule may bound, and no metric may be called."""
BETTER = {True: "low", False: "high"}


@dataclass(frozen=True)
class Metric:
    """A number that an answer gets. low_on_forget, low_on_retain: whether a low value is wanted of such a split.

    low, high: the bounds of its values, infinite for none. cluster: the column whose equal values belong together.
    """

    name: str
    low_on_forget: bool = True
    low_on_retain: bool = False
    low: float = 0.0
    high: float = 1.0
    cluster: str = "person"

    def wants_low(self, role: str) -> bool | None:
        """Whether a low value is wanted on a split of this role; None where neither is."""
        return {"forget": self.low_on_forget, "retain": self.low_on_retain}.get(role)

    def holds(self, value: Any) -> bool:
        """Whether a value is a finite number within the bounds."""
        return is_finite(value) and self.low <= value <= self.high

    def describe(self) -> dict[str, Any]:
        """All but its name, as results files hold it."""
        return {
            "better_on_forget": BETTER[self.low_on_forget],
            "better_on_retain": BETTER[self.low_on_retain],
            "low": self.low if math.isfinite(self.low) else None,
            "high": self.high if math.isfinite(self.high) else None,
            "cluster": self.cluster,
        }


def read_metrics(given: dict[str, Any]) -> tuple[Metric, ...]:
    """name -> what `describe` gives. Raises ValueError that says what is wrong."""
    metrics = []
    for name in given:
        fields = expect(given, name, dict)
        better = [expect(fields, f"better_on_{role}", str) for role in ("forget", "retain")]
        if not set(better) <= set(BETTER.values()):
            raise ValueError(f"{name}: better is low or high, not {better}")
        none = {"low": -math.inf, "high": math.inf}
        low, high = (none[key] if fields.get(key) is None else expect_number(fields, key) for key in none)
        if not low < high:
            raise ValueError(f"{name}: no value lies between {low} and {high}")
        metrics.append(Metric(name, better[0] == "low", better[1] == "low", low, high, expect(fields, "cluster", str)))
    return tuple(metrics)


def check_names(new: Iterable[str], known: Iterable[str], where: str) -> None:
    """Raise UserError if a metric's name is a column's, or holds or is held in another's.

    lmms-eval and spreadsheets look metrics up by a part of their name.
    """
    before = [*known, *FACTS]
    for name in new:
        if name in COLUMNS:
            raise UserError(f"{where}: a metric cannot be called '{name}', as a column of every sample is.")
        other = next((other for other in before if name in other or other in name), None)
        if other:
            raise UserError(f"{where}: the metric names '{name}' and '{other}' hold one another; use a name apart.")
        before.append(name)
