"""A score, or the distance of two scores on the same questions, against a bound; people are the sample."""

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from enum import StrEnum

import numpy as np
from scipy.optimize import brentq
from scipy.stats import norm

from mllmu_tasks.results.stats.evidence import above_zero, above_zero_by_flips

MOST_COPIES = 1000.0
"""`people_needed` looks no further than so many times the people there are."""


class Kind(StrEnum):
    """What is compared with the bound: the score itself, its distance from another run's, or its share of it."""

    SCORE = "score"
    DIFFERENCE = "difference"
    SHARE = "share"


@dataclass(frozen=True)
class Contrast:
    """Sums over the questions of each person; all arrays (people,).

    here: scores of the run that is judged. there: of the run it is compared with, on the same questions; zeros for
    a plain score. sizes: questions. bounded: scores lie in 0..1; otherwise only the t test can be used. origin: `there`
    is a model before unlearning or without the people: against it, whole people may fall but hardly rise.
    """

    kind: Kind
    here: np.ndarray
    there: np.ndarray
    sizes: np.ndarray
    bounded: bool = True
    origin: bool = False

    @property
    def people(self) -> int:
        return len(self.sizes)

    @property
    def questions(self) -> int:
        return int(self.sizes.sum())

    @property
    def value(self) -> float:
        """Mean score, difference of means, or share (nan if the other run scores 0)."""
        if self.kind is Kind.SHARE:
            return float(self.here.sum() / self.there.sum()) if self.there.sum() else math.nan
        return float((self.here - self.there).sum() / self.sizes.sum())

    def p_above(self, bound: float, copies: float = 1.0) -> float:
        """p-value of "not above the bound": small where the run is shown to lie above it."""
        return self._p(bound, 1, copies)

    def p_below(self, bound: float, copies: float = 1.0) -> float:
        """p-value of "not below the bound"."""
        return self._p(bound, -1, copies)

    def _p(self, bound: float, sign: int, copies: float) -> float:
        """A fall below the origin is tested by sign flips, everything else by Gaffke's test.

        Where whole people fall, large single changes speak for a fall: the side on which flips are cautious. They
        speak against "no lower than", where only a test of the worst case reckons with what a sample may miss.
        """
        if self.kind is Kind.SCORE or not self.bounded or not self.origin or sign > 0:
            return self._p_bounded(bound, sign, copies)
        unchanged = 1.0 if self.kind is Kind.SHARE else 0.0
        fallen = float(above_zero_by_flips(-self._sums(min(bound, unchanged)), copies))
        if bound <= unchanged:
            return fallen
        return min(fallen, self._p_bounded(bound, sign, copies))  # who fell at all did not rise above the bound

    def _sums(self, bound: float) -> np.ndarray:
        """By how much each person's sum lies above the bound."""
        if self.kind is Kind.SHARE:
            return self.here - bound * self.there
        return self.here - self.there - bound * self.sizes

    def _p_bounded(self, bound: float, sign: int, copies: float) -> float:
        sums = sign * self._sums(bound)
        if not self.bounded:
            return float(above_zero(sums, self.sizes, None, copies))
        least = {Kind.SHARE: -bound, Kind.SCORE: -bound, Kind.DIFFERENCE: -1.0 - bound}[self.kind]
        most = 1.0 if self.kind is Kind.SHARE else 1.0 - bound
        lowest = least if sign > 0 else -most
        if lowest >= 0:  # the contrast cannot be negative: one positive question is proof
            return 0.0 if np.any(sums > 0) else 1.0
        return float(above_zero(sums, self.sizes, lowest, copies))

    def interval(self, level: float) -> tuple[float, float]:
        """The bounds that the tests do not refuse at `level`: each end is a one-sided limit at that level."""
        if self.kind is Kind.SHARE:
            if not self.there.sum():
                return 0.0, math.inf
            least, most = 0.0, max(10.0, 4 * self.value)
        elif self.bounded:
            least, most = (0.0, 1.0) if self.kind is Kind.SCORE else (-1.0, 1.0)
        else:
            reach = 100 * float(np.abs([self.here, self.there]).max()) + 1
            least, most = -reach, reach
        low = _crossing(lambda bound: _log(self.p_above(bound)) - _log(level), self.value, least, self._scale)
        high = _crossing(lambda bound: _log(self.p_below(bound)) - _log(level), self.value, most, self._scale)
        return low, math.inf if self.kind is Kind.SHARE and high == most else high

    @property
    def _scale(self) -> float:
        """About one standard error of `value`: where to look for the ends of an interval first."""
        if self.kind is Kind.SHARE:
            return float(np.linalg.norm(self.here - self.value * self.there) / self.there.sum())
        return float(np.linalg.norm(self.here - self.there - self.value * self.sizes) / self.sizes.sum())

    def people_needed(self, bound: float, level: float) -> int | None:
        """How many people like these would decide on which side of the bound the run lies, about.

        None if no number up to MOST_COPIES times as many would, or one person shows no spread.
        """
        if self.people < 2 or math.isnan(self.value):
            return None
        p = self.p_above if self.value > bound else self.p_below
        if p(bound, MOST_COPIES) > level:
            return None
        if p(bound) <= level:
            return self.people
        power = brentq(lambda x: p(bound, math.exp(x)) - level, 0.0, math.log(MOST_COPIES), xtol=1e-3)
        return max(math.ceil(math.exp(power) * self.people), self.people + 1)


@dataclass(frozen=True)
class Reported:
    """A number with a standard error, where no single scores are at hand; the same questions to ask as a Contrast."""

    value: float
    stderr: float
    people: int = 0

    def p_above(self, bound: float) -> float:
        return float(norm.sf((self.value - bound) / self.stderr))

    def p_below(self, bound: float) -> float:
        return float(norm.cdf((self.value - bound) / self.stderr))

    def interval(self, level: float) -> tuple[float, float]:
        reach = float(norm.isf(level)) * self.stderr
        return self.value - reach, self.value + reach

    def people_needed(self, bound: float, level: float) -> int | None:
        return None


def _log(p: float) -> float:
    """On this scale a p-value falls almost like a parabola, and its root is found in few steps."""
    return math.log(max(p, 1e-300))


def _crossing(excess: Callable[[float], float], inside: float, end: float, scale: float) -> float:
    """Where the p-value falls to the level between the estimate and the end of the scale; the end if it does not."""
    if inside == end or excess(end) > 0:
        return end
    near = inside
    for steps in (2, 3, 6):
        far = inside + math.copysign(steps * scale, end - inside)
        if scale and abs(far - inside) < abs(end - inside) and far != near:
            if excess(far) <= 0:
                return float(brentq(excess, near, far, xtol=1e-5))
            near = far
    return float(brentq(excess, near, end, xtol=1e-5))


def contrast(
    kind: Kind,
    people: Iterable[str],
    here: Iterable[float],
    there: Iterable[float] | None = None,
    *,
    bounded: bool = True,
    origin: bool = False,
) -> Contrast:
    """Sum questions by person. people, here, there: one entry a question, in the same order."""
    _, person = np.unique(np.asarray(list(people), dtype=str), return_inverse=True)
    scores = np.asarray(list(here), dtype=float)
    others = np.zeros_like(scores) if there is None else np.asarray(list(there), dtype=float)
    if not len(scores):
        raise ValueError("no questions to compare")
    if not len(person) == len(scores) == len(others):
        raise ValueError(f"{len(person)} people, {len(scores)} and {len(others)} scores")
    return Contrast(
        kind,
        np.bincount(person, weights=scores),
        np.bincount(person, weights=others),
        np.bincount(person).astype(float),
        bounded,
        origin,
    )


def holm(p_values: Iterable[float]) -> list[float]:
    """Adjusted p-values (Holm 1979): a family-wise error rate under any dependence between the tests."""
    p = list(p_values)
    adjusted = [1.0] * len(p)
    running = 0.0
    for rank, index in enumerate(sorted(range(len(p)), key=p.__getitem__)):
        running = max(running, min(1.0, (len(p) - rank) * p[index]))
        adjusted[index] = running
    return adjusted
