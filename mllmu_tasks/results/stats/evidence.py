"""How sure one may be that a mean over people is above zero, with few people and bounded scores.

Always two one-sided tests, and the larger p-value counts. The first is

- Student's t on the sums of the people, the cluster-robust test (Liang and Zeger 1986) with G - 1 degrees of freedom.
  It is wrong where people hardly differ: all nine right, or nobody of fifty.

The second is, for scores and for whatever a claim about a pair of runs may not presume,

- Gaffke's test for the mean of a bounded variable (Gaffke 2005; Learned-Miller and Thomas, arXiv 1905.06208): the
  people and one imagined person with the worst possible score get random weights (a flat Dirichlet), and the p-value
  is the chance that the weighted mean is not above zero. Exact for yes-or-no scores (Clopper and Pearson); valid in
  every case that was ever simulated, but not proved in general. It needs no spread and no number of people.

and for falls of a pair

- the sign-flip test by person (Fisher 1935; Hartigan 1969): the p-value is the chance that a random choice of the
  people, each in or out by a coin, sums to no more than zero. Exact if a person's sum is as likely to be so much above
  zero as below it, and cautious if what is large is rather above it; not valid if few people are far below zero and
  all others a little above it, where a small sample may hold none of the few.
"""

from functools import lru_cache

import numpy as np
from scipy import stats

DRAWS = 9_999
"""Random choices of people; with the one of nobody, p-values are multiples of 1/10,000."""
_ALL = 13  # up to so many people every choice of them is taken, and the p-value is exact
_MANY = 1_000  # beyond, the sum over a random choice is normal
_SEED = 20_241_029

_STEPS = 60  # halvings of the interval that holds the saddle point
_NODES = np.arange(200) * 0.06  # sinh of the last one is 77,000: the integrand has died there


def above_zero(
    sums: np.ndarray, sizes: np.ndarray, lowest: float | np.ndarray | None, copies: float = 1.0
) -> np.ndarray:
    """p-value of "the mean is at most zero", one a row: the larger of the two tests.

    sums, sizes: (..., people), a person's summed contrast and number of questions. lowest: the least contrast that
    one question can have; None if it has no bound, then the t test stands alone. copies: as if there were so many
    people like each.
    """
    sums, sizes = np.asarray(sums, dtype=float), np.asarray(sizes, dtype=float)
    student = cluster_t(sums, copies)
    if lowest is None:
        return student
    # Divided by the most questions a person has, a person's sum stays between `lowest` and the highest contrast.
    values = sums / sizes.max(axis=-1, keepdims=True)
    if values.ndim == 1:  # people with equal sums are one point with more weight: much faster on thousands
        values, counts = np.unique(values, return_counts=True)
        return np.maximum(student, gaffke(values, lowest, copies * counts))
    return np.maximum(student, gaffke(values, lowest, copies))


def cluster_t(sums: np.ndarray, copies: float = 1.0) -> np.ndarray:
    """One-sided p-value of the cluster-robust t test; 1 with fewer than two people, who show no spread."""
    people = sums.shape[-1] * copies
    mean = sums.mean(axis=-1)
    if people < 2:
        return np.ones_like(mean)
    spread = np.sqrt(sums.var(axis=-1) / (people - 1))
    with np.errstate(divide="ignore", invalid="ignore"):
        p = stats.t.sf(mean / spread, people - 1)
    flat = spread <= 1e-12 * np.abs(sums).max(axis=-1, initial=0.0)
    return np.where(flat, np.where(mean > 0, 0.0, 1.0), p)


def above_zero_by_flips(sums: np.ndarray, copies: float = 1.0) -> np.ndarray:
    """p-value of "the mean is at most zero" by the t and the sign-flip test, one a row of sums (..., people).

    The t test is corrected for the skewness that makes it and the flips say too much: a tail below.
    """
    sums = np.asarray(sums, dtype=float)
    return np.maximum.reduce([cluster_t(sums, copies), skewed_t(sums, copies), sign_flip(sums, copies)])


def skewed_t(sums: np.ndarray, copies: float = 1.0) -> np.ndarray:
    """cluster_t after Hall's cubic transformation (1992), which takes the skewness out of its statistic."""
    people = sums.shape[-1] * copies
    if people < 2:
        return np.ones(sums.shape[:-1])
    mean = sums.mean(axis=-1)
    deviations = sums - mean[..., None]
    deviation = np.sqrt((deviations**2).mean(axis=-1))
    flat = deviation <= 1e-12 * np.abs(sums).max(axis=-1, initial=0.0)
    deviation = np.where(flat, 1.0, deviation)
    t = mean * np.sqrt(people - 1) / deviation
    lean = np.where(flat, 0.0, (deviations**3).mean(axis=-1) / deviation**3) / np.sqrt(people)
    p = stats.t.sf(t + lean / 3 * t**2 + lean**2 / 27 * t**3 + lean / 6, people - 1)
    return np.where(flat, np.where(mean > 0, 0.0, 1.0), p)


def sign_flip(sums: np.ndarray, copies: float = 1.0) -> np.ndarray:
    """P(a random choice of the people sums to at most 0), one a row of sums (..., people).

    The same as: with random signs, P(the sum is at least the sum that was seen). All choices up to 13 people, DRAWS
    with a fixed seed and the choice of nobody beyond. copies other than 1: the normal limit, for planning.
    """
    sums = np.asarray(sums, dtype=float)
    flat = sums.reshape(-1, sums.shape[-1])
    flat = flat[:, (flat != 0).any(axis=0)]  # nobody whose sum is 0 changes any choice
    if copies != 1 or flat.shape[1] > _MANY:
        norm = np.sqrt((flat**2).sum(axis=1))
        z = np.divide(flat.sum(axis=1), norm, out=np.zeros(len(flat)), where=norm > 0)
        return np.where(norm > 0, stats.norm.sf(np.sqrt(copies) * z), 1.0).reshape(sums.shape[:-1])
    chosen = _choices(flat.shape[1])
    slack = 1e-12 * np.abs(flat).sum(axis=1)  # a sum of exactly 0 must count, whatever its rounding
    p = np.empty(len(flat))
    rows = max(1, 20_000_000 // len(chosen))
    for start in range(0, len(flat), rows):
        part = slice(start, start + rows)
        p[part] = (chosen @ flat[part].T <= slack[part]).mean(axis=0)
    return p.reshape(sums.shape[:-1])


@lru_cache(maxsize=4)
def _choices(people: int) -> np.ndarray:
    """(choices, people) of 0 and 1, the first one all 0."""
    if people <= _ALL:
        return (np.arange(2**people)[:, None] >> np.arange(people) & 1).astype(float)
    drawn = np.random.default_rng(_SEED).integers(0, 2, (DRAWS, people), dtype=np.uint8)
    return np.concatenate([np.zeros((1, people)), drawn])


def gaffke(values: np.ndarray, lowest: float | np.ndarray, copies: float | np.ndarray = 1.0) -> np.ndarray:
    """P(sum of w_j x_j <= 0) for flat Dirichlet weights over `values` (..., people) and one more value, `lowest`.

    Weights are exponentials over their sum, so this is the chance that a weighted sum of gamma variables is not
    positive. Its moment generating function is inverted along a vertical line near the saddle point, which is
    exact to about 1e-7 relative, also far out in the tail. `lowest` must be below 0. copies: weight of each value,
    as (..., people) or less.
    """
    values = np.asarray(values, dtype=float)
    worst = np.broadcast_to(np.asarray(lowest, dtype=float), values.shape[:-1])[..., None]
    if np.any(worst >= 0):
        raise ValueError("the lowest possible contrast must be below 0, else there is nothing to test")
    points = np.concatenate([values, worst], axis=-1)
    shapes = np.ones(points.shape)
    shapes[..., :-1] = copies
    flat, shapes = points.reshape(-1, points.shape[-1]), shapes.reshape(-1, points.shape[-1])
    p = np.ones(len(flat))
    hopeful = flat.max(axis=-1) > 0  # else the sum cannot be positive
    if hopeful.any():
        p[hopeful] = _at_most_zero(flat[hopeful], shapes[hopeful])
    return p.reshape(points.shape[:-1])


def _at_most_zero(points: np.ndarray, shapes: np.ndarray) -> np.ndarray:
    """P(sum_j points_j G_j <= 0), G_j ~ Gamma(shapes_j); both (rows, n), points with both signs in every row."""
    points = points / np.sqrt((shapes * points**2).sum(axis=-1, keepdims=True))
    saddle = _saddle(points, shapes)
    upper = saddle > 0  # left of the pole at 0 the integral is P(sum <= 0), right of it -P(sum > 0)
    saddle = np.where(upper, np.maximum(saddle, 0.5), np.minimum(saddle, -0.5))
    slope = points / (1 - points * saddle[:, None])
    width = 1 / np.sqrt((shapes * slope**2).sum(axis=-1))
    p = np.empty(len(points))
    rows = max(1, 4_000_000 // (points.shape[1] * len(_NODES)))
    for start in range(0, len(points), rows):
        part = slice(start, start + rows)
        p[part] = _along_the_line(points[part], shapes[part], saddle[part], width[part])
    return np.clip(p + upper, 0.0, 1.0)


def _saddle(points: np.ndarray, shapes: np.ndarray) -> np.ndarray:
    """Where the derivative of log E exp(s sum) = -sum_j shapes_j log(1 - points_j s) vanishes, by bisection."""
    low, high = 1 / points.min(axis=-1), 1 / points.max(axis=-1)
    for _ in range(_STEPS):
        middle = (low + high) / 2
        with np.errstate(divide="ignore"):
            rising = (shapes * points / (1 - points * middle[:, None])).sum(axis=-1) > 0
        low, high = np.where(rising, low, middle), np.where(rising, middle, high)
    return low


def _along_the_line(points: np.ndarray, shapes: np.ndarray, saddle: np.ndarray, width: np.ndarray) -> np.ndarray:
    """-1/pi times the integral of Re exp(K(s + iy)) / (s + iy) over y > 0; trapezoids after y = width sinh(u)."""
    height = width[:, None] * np.sinh(_NODES)  # (rows, nodes)
    stretch = width[:, None] * np.cosh(_NODES) * (_NODES[1] - _NODES[0])
    stretch[:, 0] /= 2
    real = (1 - points * saddle[:, None])[:, None, :]
    imaginary = -points[:, None, :] * height[:, :, None]
    shapes = shapes[:, None, :]
    log_size = -(shapes * 0.5 * np.log(real**2 + imaginary**2)).sum(axis=-1)
    angle = -(shapes * np.arctan2(imaginary, real)).sum(axis=-1)
    integrand = np.exp(log_size + 1j * angle) / (saddle[:, None] + 1j * height)
    return -(integrand.real * stretch).sum(axis=-1) / np.pi
