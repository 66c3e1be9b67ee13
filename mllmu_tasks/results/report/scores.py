"""The numbers of a report: means with intervals, and which method is best where that is decided."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from mllmu_tasks.benchmarks.mllmu.spec import Leaf, Modality, Split, Task
from mllmu_tasks.results.report.gather import Evaluations, Row
from mllmu_tasks.results.runs import Sample
from mllmu_tasks.results.stats.contrast import Contrast, Kind, contrast, holm

LEVEL = 0.05
"""Of two-sided intervals, and of the test that puts a best value in bold."""


@dataclass(frozen=True)
class Place:
    """A column: modality None pools image and text questions."""

    split: Split
    task: Task
    modality: Modality | None = None

    @property
    def low_is_good(self) -> bool:
        return self.split in (Split.FORGET, Split.TEST)


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


def score_all(found: Evaluations) -> Scores:
    """Every split x task x modality, and both modalities pooled, of every row."""
    scores: Scores = {}
    for place in places(found):
        samples = {row.name: pick(found, row, place) for row in found.rows}
        sound = [row for row in found.methods if not any(map(row.is_void, _leaves(found, place)))]
        best = "" if found.incomparable else _best(sound, samples, place)
        for row in found.rows:
            leaves = _leaves(found, place)
            if any(map(row.is_void, leaves)):
                scores[row.name, place] = NOT_A_RESULT
            elif samples[row.name]:
                scores[row.name, place] = _score(samples[row.name], best == row.name, any(map(row.is_part, leaves)))
    return scores


def places(found: Evaluations) -> list[Place]:
    """All places that some row has questions for, in the benchmark's order."""
    every = [Place(split, task, modality) for split in Split for task in Task for modality in (*Modality, None)]
    return [
        place
        for place in every
        if any(pick(found, row, place) or any(map(row.is_void, _leaves(found, place))) for row in found.rows)
    ]


def _leaves(found: Evaluations, place: Place) -> list[Leaf]:
    modalities = [place.modality] if place.modality else list(Modality)
    return [found.leaf(place.split, place.task, modality) for modality in modalities]


def pick(found: Evaluations, row: Row, place: Place) -> dict[tuple, Sample]:
    """The scored questions of a place by (modality, person, question index); {} unless both pooled parts are there."""
    modalities = [place.modality] if place.modality else list(Modality)
    parts = {m: row.of(found.leaf(place.split, place.task, m)) for m in modalities}
    if not all(parts.values()):
        return {}
    return {(m, *key): sample for m, part in parts.items() for key, sample in part.items()}


def _score(samples: dict[tuple, Sample], best: bool, part: bool) -> Score:
    subject = contrast(Kind.SCORE, [key[1] for key in samples], [s.score for s in samples.values()])
    low, high = subject.interval(LEVEL / 2)
    return Score(subject.value, low, high, subject.people, subject.questions, is_part=part, best=best)


def _best(methods: Sequence[Row], samples: dict[str, dict[tuple, Sample]], place: Place) -> str:
    """The name of the method that is shown to be better than every other one, or "".

    Paired by question, clustered by person; Holm over the comparisons with the others.
    """
    named = {row.name: samples[row.name] for row in methods if samples[row.name]}
    if len(named) < 2 or len({frozenset(s) for s in named.values()}) > 1:
        return ""
    sign = -1 if place.low_is_good else 1
    best = max(named, key=lambda name: sign * sum(s.score for s in named[name].values()))
    p_values = []
    for name in named:
        if name != best:
            against = _difference(named[best], named[name])
            p_values.append(against.p_below(0.0) if place.low_is_good else against.p_above(0.0))
    return best if max(holm(p_values)) <= LEVEL else ""


def _difference(here: dict[tuple, Sample], there: dict[tuple, Sample]) -> Contrast:
    people = [key[1] for key in here]
    return contrast(Kind.DIFFERENCE, people, [s.score for s in here.values()], [there[key].score for key in here])
