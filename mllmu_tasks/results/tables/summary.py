"""What stands beside the scores of a run: which questions, how they were asked, how many were answered."""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from mllmu_tasks.results.runs import Run
from mllmu_tasks.results.validity import Flaw

ROW_HEADS = ("answered", "shots", "seed")


@dataclass(frozen=True)
class RunSummary:
    """One lmms-eval run, as `mllmu results --format json` lists it (docs/results.md).

    name: of its row. answered: rate over questions, None without questions. leaves: leaf -> the facts that the
    task recorded (data, data_hash, seed, shots, shot_questions, shot_people, questions, people, left_out, ...).
    notes: what is wrong with its scores, and tasks that stand in no table.
    """

    name: str
    file: str
    date: str
    model: str
    model_args: str
    prompt_style: str
    limit: float | None
    questions: int
    unanswered: int
    answered: float | None
    is_result: bool
    leaves: dict[str, dict[str, Any]]
    notes: tuple[str, ...] = ()


def summarise(run: Run, name: str, flaws: Mapping[str, Sequence[Flaw]]) -> RunSummary:
    """flaws: of the leaves of the run's row."""
    mine = [flaw for leaf in run.leaves for flaw in flaws[leaf.name]]
    return RunSummary(
        name=name,
        file=str(run.file),
        date=run.date,
        model=run.model,
        model_args=run.model_args,
        prompt_style=run.prompt_style,
        limit=run.limit,
        questions=len(run.samples),
        unanswered=sum(not sample.answered for sample in run.samples),
        answered=run.answered_rate,
        is_result=not any(flaw.void for flaw in mine),
        leaves=run.facts,
        notes=(*map(str, mine), *(f"{task}: is no task that this version knows" for task in run.unknown)),
    )


def rows_of(runs: Sequence[RunSummary]) -> dict[str, tuple[str, ...]]:
    """Row name -> its cells under ROW_HEADS; runs of one row may differ, and then all values are named."""
    named: dict[str, list[RunSummary]] = {}
    for run in runs:
        named.setdefault(run.name, []).append(run)
    return {
        name: (
            _rate(sum(run.unanswered for run in group), sum(run.questions for run in group)),
            _each(_shots(facts) for run in group for facts in run.leaves.values()),
            _each(str(facts.get("seed", "?")) for run in group for facts in run.leaves.values()),
        )
        for name, group in named.items()
    }


def _rate(unanswered: int, questions: int) -> str:
    """Rounded down: 100 % means all."""
    return f"{math.floor(1000 * (questions - unanswered) / questions) / 10:g}%" if questions else "-"


def _shots(facts: dict[str, Any]) -> str:
    """People shown before classification and cloze questions, as in MLLMU_SHOTS."""
    if "shots" not in facts:
        return "?"
    most = facts.get("shot_questions")
    return ",".join(map(str, facts["shots"])) + (f" (at most {most} questions)" if most is not None else "")


def _each(values: Iterable[str]) -> str:
    return " / ".join(dict.fromkeys(values))
