"""Logged answers scored again: by a text scorer of the user's, or by whatever else needs no model."""

from collections.abc import Iterable, Sequence
from pathlib import Path

from mllmu_tasks.errors import UserError
from mllmu_tasks.results import joined
from mllmu_tasks.results.gate.pinned import MANIFEST
from mllmu_tasks.results.options import read_options
from mllmu_tasks.results.runs import Run, Sample, load_runs
from mllmu_tasks.results.validity import Weight, all_flaws
from mllmu_tasks.scorers import base


def open_runs(folders: Sequence[Path]) -> list[Run]:
    """The runs whose answers may be scored again. Raises UserError for pinned baselines and what is no result."""
    runs = list({run.file.resolve(): run for run in load_runs(folders)}.values())
    for run in runs:
        pinned = [folder for folder in run.file.resolve().parents if (folder / MANIFEST).is_file()]
        if pinned:
            raise UserError(f"'{pinned[0]}' is a pinned baseline and stays as it is; score the results it came from.")
        damaged = [flaw for flaw in all_flaws([run]) if flaw.weight is Weight.DAMAGE]
        if damaged:
            raise UserError(f"'{run.file}' is not a result: {damaged[0]}; evaluate the model again.")
    return runs


def samples_for(scorer: base.Scorer, run: Run) -> list[Sample]:
    """The samples that a scorer scores again: those of the scorer that `rescores` names, or all."""
    if not scorer.rescores:
        return list(run.samples)
    first = base.get(scorer.rescores).metrics[0].name
    return [sample for sample in run.samples if first in sample.metrics]


def join_scores(scorer: base.Scorer, run: Run) -> tuple[Path, int] | None:
    """Score the logged answers with a text scorer, and write its columns.

    Returns the file and how many answers have a value; None if it scores none of the run's samples. Raises UserError
    for samples that hold no answer.
    """
    samples = samples_for(scorer, run)
    if not samples:
        return None
    values = {key_of(sample): _score(scorer, sample, run) for sample in samples}
    return joined.write(run.file, scorer, values, leaves_of(samples), {}), len(values)


def key_of(sample: Sample) -> joined.Key:
    return sample.leaf.name, sample.person, sample.question_index


def leaves_of(samples: Iterable[Sample]) -> list[str]:
    return list(dict.fromkeys(sample.leaf.name for sample in samples))


def _score(scorer: base.Scorer, sample: Sample, run: Run) -> dict[str, float]:
    raw = logged_answer(sample)
    if raw is None:
        raise UserError(f"'{run.file}' holds no answer of person {sample.person}; evaluate the model again.")
    made = base.score_answer(scorer, raw, sample.gold, read_options(sample) or {})
    return {metric.name: float(made[metric.name]) for metric in scorer.metrics}


def logged_answer(sample: Sample) -> str | None:
    """As lmms-eval passed it to the scorer; the prediction where no answer is logged. None if it is no text."""
    raw = sample.logged.get("filtered_resps", sample.prediction)
    raw = raw[0] if isinstance(raw, list) and len(raw) == 1 else raw
    return raw if isinstance(raw, str) else None
