"""Means with standard errors that know that the questions of one person are not independent."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Estimate:
    """A mean over questions with its cluster-robust standard error.

    stderr is None with fewer than two people: one cluster says nothing about variation between people.
    """

    mean: float
    stderr: float | None
    questions: int
    people: int


def clustered_mean(scores: Sequence[float], people: Sequence[str]) -> Estimate:
    """Mean over questions; standard error clustered by person.

    SE = sqrt(G / (G - 1) * sum_g (sum_{i in g} (x_i - mean))^2) / n, the cluster-robust variance of a mean
    (Liang and Zeger 1986) with the usual factor for few clusters; lmms-eval's `*_stderr_clustered`
    (arXiv 2411.00640, equation 4) leaves that factor out and is smaller by sqrt((G - 1) / G).

    Raises ValueError if there is nothing to average or the lengths differ.
    """
    if not len(scores):
        raise ValueError("no scores to average")
    if len(scores) != len(people):
        raise ValueError(f"{len(scores)} scores but {len(people)} people")
    values = np.asarray(scores, dtype=float)
    _, person = np.unique(np.asarray(people, dtype=str), return_inverse=True)
    clusters = int(person.max()) + 1
    mean = float(values.mean())
    if clusters < 2:
        return Estimate(mean, None, len(values), clusters)
    residuals = np.bincount(person, weights=values - mean, minlength=clusters)
    variance = clusters / (clusters - 1) * float(residuals @ residuals) / len(values) ** 2
    return Estimate(mean, math.sqrt(variance), len(values), clusters)
