"""The numbers of a report: means with intervals, and which method is best where that is decided."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from mllmu_tasks.results.columns import Metric
from mllmu_tasks.results.report.gather import Place, Row, Study
from mllmu_tasks.results.runs import Sample
from mllmu_tasks.results.stats.contrast import Contrast, Kind, holm
from mllmu_tasks.results.stats.scale import Rescaled, contrast_of

LEVEL = 0.05
"""Of two-sided intervals, and of the test that puts a best value in bold."""


@dataclass(frozen=True)
class Score:
    """Mean over questions with a 95 % interval that treats people as the sample; NaN where it is no result.

    is_part: it stands for a part of the questions.
    """

    mean: float
    low: float
    high: float
    people: int
    questions: int
    is_result: bool = True
    is_part: bool = False
    best: bool = False


NOT_A_RESULT = Score(math.nan, math.nan, math.nan, 0, 0, is_result=False)
Scores = dict[tuple[str, Place], Score]
"""(row name, place) -> score; a place without questions is absent."""


def score_all(found: Study) -> Scores:
    """Every split x task x modality, and both modalities pooled, of every row."""
    scores: Scores = {}
    for place in places(found):
        samples = {row.name: pick(found, row, place) for row in found.rows}
        sound = [row for row in found.methods if not any(map(row.is_void, found.leaves_at(place)))]
        best = "" if found.incomparable else _best(sound, samples, place)
        for row in found.rows:
            leaves = found.leaves_at(place)
            if any(map(row.is_void, leaves)):
                scores[row.name, place] = NOT_A_RESULT
            elif samples[row.name]:
                scores[row.name, place] = _score(
                    samples[row.name], place, best == row.name, any(map(row.is_part, leaves))
                )
    return scores


def places(found: Study) -> list[Place]:
    """All places that some row has questions for, in the benchmark's order; those of joined metrics at the end."""
    pairs = list(dict.fromkeys((split, task) for split, task, _ in found.leaves))
    every = [found.place(split, task, modality) for split, task in pairs for modality in (*found.modalities, None)]
    every += [found.place(split, task, None, metric) for metric in found.joined for split, task in pairs]
    return [
        place
        for place in every
        if any(pick(found, row, place) or any(map(row.is_void, found.leaves_at(place))) for row in found.rows)
    ]


def pick(found: Study, row: Row, place: Place) -> dict[tuple, Sample]:
    """The scored questions of a place by (modality, person, question index); {} unless all pooled parts are there."""
    parts = [(leaf, row.of(leaf)) for leaf in found.leaves_at(place)]
    if not all(part for _, part in parts):
        return {}
    return {
        (leaf.modality, *key): sample
        for leaf, part in parts
        for key, sample in part.items()
        if not place.metric or place.metric in sample.metrics
    }


def value(sample: Sample, place: Place) -> float:
    return sample.metrics[place.metric] if place.metric else sample.score


def _metric(samples: dict[tuple, Sample], place: Place) -> Metric:
    leaf = next(iter(samples.values())).leaf
    return leaf.metric(place.metric) if place.metric else leaf.score


def _score(samples: dict[tuple, Sample], place: Place, best: bool, part: bool) -> Score:
    values = [value(sample, place) for sample in samples.values()]
    subject = contrast_of(_metric(samples, place), Kind.SCORE, [key[1] for key in samples], values)
    low, high = subject.interval(LEVEL / 2)
    return Score(subject.value, low, high, subject.people, subject.questions, is_part=part, best=best)


def _best(methods: Sequence[Row], samples: dict[str, dict[tuple, Sample]], place: Place) -> str:
    """The name of the method that is shown to be better than every other one, or "".

    Paired by question, clustered by person; Holm over the comparisons with the others.
    """
    named = {row.name: samples[row.name] for row in methods if samples[row.name]}
    if place.low_is_good is None or len(named) < 2 or len({frozenset(s) for s in named.values()}) > 1:
        return ""
    sign = -1 if place.low_is_good else 1
    best = max(named, key=lambda name: sign * sum(value(s, place) for s in named[name].values()))
    p_values = []
    for name in named:
        if name != best:
            against = _difference(named[best], named[name], place)
            p_values.append(against.p_below(0.0) if place.low_is_good else against.p_above(0.0))
    return best if max(holm(p_values)) <= LEVEL else ""


def _difference(mine: dict[tuple, Sample], others: dict[tuple, Sample], place: Place) -> Contrast | Rescaled:
    values = [value(sample, place) for sample in mine.values()]
    beside = [value(others[key], place) for key in mine]
    return contrast_of(_metric(mine, place), Kind.DIFFERENCE, [key[1] for key in mine], values, beside)
