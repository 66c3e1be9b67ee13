"""Every text score once more, by the scorer whose metrics it has, from the logged answer: a logged score is a claim."""

from collections.abc import Iterator
from typing import Any

from mllmu_tasks.results.gate.evaluation import Evaluation, Problem
from mllmu_tasks.results.options import read_options
from mllmu_tasks.results.rescoring import logged_answer
from mllmu_tasks.results.runs import Sample
from mllmu_tasks.scorers.base import Scorer, score_answer, scorer_of

CLOSE = 1e-6


def problems(side: Evaluation) -> list[Problem]:
    """Samples whose scores do not follow from their answers, or that lmms-eval's own means left out."""
    return [problem for leaf, samples in side.samples.items() for problem in _of_leaf(side, leaf, samples)]


def _of_leaf(side: Evaluation, leaf: str, samples: tuple[Sample, ...]) -> Iterator[Problem]:
    scorer = scorer_of(metric.name for metric in samples[0].leaf.metrics) if samples else None
    wrong = [sample for sample in samples if scorer is None or not _follows(sample, scorer)]
    if samples and scorer is None:
        named = ", ".join(metric.name for metric in samples[0].leaf.metrics) or "no metric"
        yield Problem(side.role, leaf, f"no scorer that is installed here has its metrics ({named})")
    elif wrong:
        first = wrong[0]
        yield Problem(
            side.role,
            leaf,
            f"{len(wrong)} of {len(samples)} scores do not follow from the logged answers (first: person "
            f"{first.person}, question {first.question_index})",
        )
    apart = sum(not _counted(sample) for sample in samples)
    if apart:
        yield Problem(side.role, leaf, f"{apart} of {len(samples)} samples lack mllmu_by_person or contradict it")
    reported = next((run.scores[leaf].get("mllmu_by_person,none") for run in side.runs if leaf in run.scores), None)
    if samples and not _number(reported):
        yield Problem(side.role, leaf, "the results file lacks the mean of mllmu_by_person")


def _follows(sample: Sample, scorer: Scorer) -> bool:
    """From the answer as lmms-eval passed it to the scorer; from the prediction where no answer is logged."""
    raw, options = logged_answer(sample), read_options(sample)
    if raw is None:
        return False
    assumed = {sample.prediction: "an option"} if options is None else options  # as of an earlier version
    made = score_answer(scorer, raw, sample.gold, assumed)
    known = {**sample.logged, **sample.metrics, "score": sample.score, "answered": float(sample.answered)}
    numbers = {key: value for key, value in made.items() if key not in ("prediction", "parsed")}
    if options is not None:
        known["parsed"], numbers["parsed"] = float(sample.parsed), made["parsed"]
    return sample.prediction == made["prediction"] and all(
        _number(known.get(key)) and abs(known[key] - value) <= CLOSE for key, value in numbers.items()
    )


def _counted(sample: Sample) -> bool:
    """Whether lmms-eval's mean by person took this sample for what it says it is."""
    counted: Any = sample.logged.get("mllmu_by_person")
    if not isinstance(counted, dict) or not _number(counted.get("score")):
        return False
    same = abs(counted["score"] - sample.score) <= CLOSE and counted.get("person") == sample.person
    return same and counted.get("leaf", sample.leaf.name) == sample.leaf.name


def _number(value: object) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and value == value
