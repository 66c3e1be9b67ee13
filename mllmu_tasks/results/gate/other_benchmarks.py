"""A metric of any other lmms-eval task: its reported number, and its single scores where they are logged."""

from dataclasses import dataclass

from mllmu_tasks.errors import UserError, did_you_mean
from mllmu_tasks.results.gate.evaluation import Evaluation
from mllmu_tasks.results.gate.rules import Rule
from mllmu_tasks.results.runs import Run
from mllmu_tasks.results.stats.contrast import Contrast, Kind, Reported, contrast
from mllmu_tasks.strict_json import is_finite, read_lines

FEW = 40
"""Fewer questions than this say nothing where only the t test can be used."""


@dataclass(frozen=True)
class Metric:
    """value, stderr: as reported (None: no error is). single: (doc_id, doc_hash) -> score, {} if unknown."""

    value: float
    stderr: float | None
    single: dict[tuple, float]


def read_metric(side: Evaluation, rule: Rule) -> Metric | None:
    """The rule's metric on one side; None if the benchmark was not run. Raises UserError for an unknown metric."""
    found = side.benchmark(rule.benchmark)
    if found is None:
        return None
    run, values = found
    numbers = {key: value for key, value in values.items() if is_finite(value) and "_stderr" not in key}
    keys = [key for key in numbers if rule.metric in (key, key.partition(",")[0])]
    if len(keys) != 1:
        known = sorted({key if keys else key.partition(",")[0] for key in keys or numbers})
        why = "is reported by several filters" if keys else "is not reported"
        raise UserError(
            f"{side.role}: metric '{rule.metric}' of {rule.benchmark} {why}.{did_you_mean(rule.metric, known)}"
        )
    name, _, filtered = keys[0].partition(",")
    errors = (values.get(f"{name}_stderr{kind},{filtered}") for kind in ("_clustered", "", "_clt"))
    value = float(numbers[keys[0]])
    return Metric(
        value, next((float(e) for e in errors if is_finite(e)), None), _single(run, rule.benchmark, name, value)
    )


def _single(run: Run, benchmark: str, metric: str, reported: float) -> dict[tuple, float]:
    """Single scores, if every sample has one and their mean is the reported number."""
    file = run.sample_file(benchmark)
    scores = {}
    for _, row in read_lines(file, "logged sample") if file.is_file() else ():
        score = row.get(metric)
        if isinstance(score, bool):
            score = float(score)
        if not is_finite(score):
            return {}
        scores[str(row.get("doc_id")), str(row.get("doc_hash"))] = float(score)
    mean = sum(scores.values()) / len(scores) if scores else float("nan")
    return scores if abs(mean - reported) < 1e-6 else {}


def compare(rule: Rule, here: Metric, there: Metric | None) -> Contrast | Reported | str:
    """What can be tested: paired single scores, else reported standard errors; else a sentence why nothing can."""
    kind = rule.bound.kind
    if here.single and (there is None or set(here.single) == set(there.single)):
        keys = sorted(here.single, key=str)
        mine = [here.single[key] for key in keys]
        theirs = [there.single[key] for key in keys] if there else None
        bounded = all(0 <= score <= 1 for score in (*mine, *(theirs or ())))
        if bounded or len(keys) >= FEW:
            return contrast(kind, map(str, keys), mine, theirs, bounded=bounded, origin=there is not None)
        return f"{len(keys)} questions with scores outside 0..1 are too few for a test"
    if here.stderr and (there is None or there.stderr):
        if there is None:
            return Reported(here.value, here.stderr)
        if kind is Kind.DIFFERENCE:
            return Reported(here.value - there.value, (here.stderr**2 + there.stderr**2) ** 0.5)
        share = here.value / there.value if there.value else float("nan")
        if share == share:
            error = (here.stderr**2 + (rule.bound.amount * there.stderr) ** 2) ** 0.5 / abs(there.value)
            return Reported(share, error)
    return "it has neither single scores that average to the reported number nor a standard error; " + (
        "'point: true' in the rule compares the numbers as they are"
    )
