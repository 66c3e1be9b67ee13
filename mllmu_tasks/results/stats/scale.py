"""Metrics whose values do not lie in 0..1, for tests that reckon with scores that do."""

import math
from collections.abc import Iterable
from dataclasses import dataclass

from mllmu_tasks.results.columns import Metric
from mllmu_tasks.results.stats.contrast import Contrast, Kind, contrast


@dataclass(frozen=True)
class Rescaled:
    """A contrast of values that were shifted and divided; bounds and results are those of the values themselves."""

    inner: Contrast
    shift: float
    factor: float

    @property
    def value(self) -> float:
        return self.inner.value * self.factor + self.shift

    @property
    def people(self) -> int:
        return self.inner.people

    @property
    def questions(self) -> int:
        return self.inner.questions

    def p_above(self, bound: float) -> float:
        return self.inner.p_above((bound - self.shift) / self.factor)

    def p_below(self, bound: float) -> float:
        return self.inner.p_below((bound - self.shift) / self.factor)

    def interval(self, level: float) -> tuple[float, float]:
        low, high = self.inner.interval(level)
        return low * self.factor + self.shift, high * self.factor + self.shift

    def people_needed(self, bound: float, level: float) -> int | None:
        return self.inner.people_needed((bound - self.shift) / self.factor, level)


def contrast_of(
    metric: Metric,
    kind: Kind,
    people: Iterable[str],
    values: Iterable[float],
    others: Iterable[float] | None = None,
    *,
    origin: bool = False,
) -> Contrast | Rescaled:
    """As `contrast`, of values between the metric's bounds."""
    values, others = list(values), None if others is None else list(others)
    finite = math.isfinite(metric.low) and math.isfinite(metric.high)
    if (metric.low, metric.high) == (0.0, 1.0) or not finite or (kind is Kind.SHARE and metric.low < 0):
        bounded = (metric.low, metric.high) == (0.0, 1.0)
        return contrast(kind, people, values, others, bounded=bounded, origin=origin)
    shift = 0.0 if kind is Kind.SHARE else metric.low
    factor = metric.high - shift
    scaled = [(value - shift) / factor for value in values]
    beside = None if others is None else [(value - shift) / factor for value in others]
    inner = contrast(kind, people, scaled, beside, origin=origin)
    if kind is Kind.SCORE:
        return Rescaled(inner, shift, factor)
    return inner if kind is Kind.SHARE else Rescaled(inner, 0.0, factor)
