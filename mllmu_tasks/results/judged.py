"""Grades of logged answers -> columns beside the samples, means per leaf and split, a JSON file and a table."""

import io
import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console
from rich.table import Table
from rich.text import Text

from mllmu_tasks.artifacts.folders import write_whole
from mllmu_tasks.errors import UserError
from mllmu_tasks.results import joined
from mllmu_tasks.results.rescoring import key_of, leaves_of, samples_for
from mllmu_tasks.results.runs import Run, Sample
from mllmu_tasks.results.stats.means import Estimate, clustered_mean
from mllmu_tasks.results.tables.table import MARK, NOT_A_RESULT
from mllmu_tasks.results.validity import Flaw, all_flaws, explain
from mllmu_tasks.scorers.judge.cache import GradeCache
from mllmu_tasks.scorers.judge.client import ChatClient
from mllmu_tasks.scorers.judge.judging import Asked, Outcome, Plan, Status
from mllmu_tasks.scorers.judge.rubric import MAX_TOKENS, VERSION
from mllmu_tasks.scorers.judge.scorer import SCORER
from mllmu_tasks.text_safety import one_line

SCHEMA = 1
METRIC = SCORER.metrics[0].name
SUFFIX = "_judged.json"

Pairs = list[tuple[Sample, Outcome]]


@dataclass(frozen=True)
class Line:
    """Grades of one leaf, or of a split with image and text pooled as in the paper.

    estimate: over what was judged; None if nothing was. empty: answers without a text, graded like all others.
    """

    name: str
    answers: int
    estimate: Estimate | None
    unparsed: int
    failed: int
    empty: int


def notes(run: Run, pairs: Pairs) -> list[Flaw]:
    """What is wrong with the leaves that were judged: a part of their questions, a backend that may hide failures."""
    judged = {sample.leaf.name for sample, _ in pairs}
    return [flaw for flaw in all_flaws([run]) if flaw.leaf in judged]


def judged_file(run: Run) -> Path:
    """Where the grades of a run go: beside its results file."""
    return run.file.with_name(f"{run.date}{SUFFIX}")


def to_judge(runs: Iterable[Run]) -> Iterator[Asked]:
    """The free answers of the runs. Raises UserError if there are none or they lack the question."""
    samples = [(run, sample) for run in runs for sample in samples_for(SCORER, run)]
    for run, sample in samples:
        if not sample.question:
            raise UserError(f"the samples of '{run.file}' do not hold their questions; evaluate the model again.")
        yield _asked(sample)
    if not samples:
        raise UserError("there are no generation answers in these results; evaluate tasks such as mllmu_forget.")


def _asked(sample: Sample) -> Asked:
    return Asked(sample.question, sample.gold, sample.prediction)


def graded(run: Run, plan: Plan, cache: GradeCache) -> Pairs:
    """Each free answer of a run with its outcome, in the order of the logs."""
    pairs = []
    for sample in samples_for(SCORER, run):
        item = _asked(sample)
        pairs.append((sample, plan.outcomes[cache.key(item.question, item.gold, item.answer)]))
    return pairs


def leaf_lines(pairs: Pairs) -> list[Line]:
    return _lines(pairs, lambda sample: sample.leaf.name)


def split_lines(pairs: Pairs) -> list[Line]:
    """One line a split: the official score is one mean over image and text questions."""
    return _lines(pairs, lambda sample: sample.leaf.group)


def _lines(pairs: Pairs, name) -> list[Line]:
    groups: dict[str, Pairs] = {}
    for sample, outcome in pairs:
        groups.setdefault(name(sample), []).append((sample, outcome))
    return [_line(group, members) for group, members in groups.items()]


def _line(name: str, pairs: Pairs) -> Line:
    scored = [(outcome.score, sample.person) for sample, outcome in pairs if outcome.status is Status.JUDGED]
    count = [outcome.status for _, outcome in pairs].count
    return Line(
        name=name,
        answers=len(pairs),
        estimate=clustered_mean(*zip(*scored, strict=True)) if scored else None,
        unparsed=count(Status.UNPARSED),
        failed=count(Status.FAILED),
        empty=sum(not sample.answered for sample, _ in pairs),
    )


def as_json(run: Run, pairs: Pairs, client: ChatClient) -> str:
    """The judged file. The same grades give the same bytes, whatever part of them came from the cache."""
    return json.dumps(
        {
            "schema": SCHEMA,
            "metric": METRIC,
            "run": run.name,
            "results_file": run.file.name,
            "judge": {
                "model": client.model,
                "answered_by": sorted({outcome.answered_by for _, outcome in pairs if outcome.answered_by}),
                "base_url": client.base_url,
                "rubric": VERSION,
                "temperature": 0,
                "max_tokens": MAX_TOKENS,
            },
            "complete": all(outcome.status is Status.JUDGED for _, outcome in pairs),
            "notes": list(map(str, notes(run, pairs))),
            "leaves": {line.name: _flat(line) for line in leaf_lines(pairs)},
            "splits": {line.name: _flat(line) for line in split_lines(pairs)},
            "samples": [
                {
                    "leaf": sample.leaf.name,
                    "person": sample.person,
                    "question_index": sample.question_index,
                    METRIC: outcome.score,
                    "status": outcome.status,
                    "answered": sample.answered,
                    "words": outcome.words,
                }
                for sample, outcome in pairs
            ],
        },
        indent=1,
    )


def _flat(line: Line) -> dict:
    estimate = line.estimate
    return {
        METRIC: estimate.mean if estimate else None,
        "stderr_clustered": estimate.stderr if estimate else None,
        "answers": line.answers,
        "judged": estimate.questions if estimate else 0,
        "people": estimate.people if estimate else 0,
        "unparsed": line.unparsed,
        "failed": line.failed,
        "empty": line.empty,
    }


def write(run: Run, pairs: Pairs, client: ChatClient) -> Path:
    """Write the judged file and the columns, each whole or not at all; returns the judged file. Raises UserError."""
    grades = {key_of(sample): {METRIC: float(outcome.score)} for sample, outcome in pairs if outcome.score is not None}
    about = {"model": client.model, "base_url": client.base_url, "rubric": VERSION}
    joined.write(run.file, SCORER, grades, leaves_of(sample for sample, _ in pairs), about)
    file = judged_file(run)
    write_whole(file, as_json(run, pairs, client) + "\n")
    return file


def table(run: Run, pairs: Pairs) -> str:
    """Leaves, then splits with both modalities pooled; what is no result or a part is marked and explained below."""
    flaws = notes(run, pairs)
    void = f" ({NOT_A_RESULT})" if any(flaw.void for flaw in flaws) else ""
    wrong = {flaw.leaf for flaw in flaws}
    marked = wrong | {sample.leaf.group for sample, _ in pairs if sample.leaf.name in wrong}
    drawn = Table(title=Text(one_line(f"{run.name}{void}")), title_justify="left")
    drawn.add_column("")
    for head in ("factuality", "judged", "people", "unparsed", "failed", "empty"):
        drawn.add_column(head, justify="right", no_wrap=True)
    _add(drawn, leaf_lines(pairs), marked)
    drawn.add_section()
    _add(drawn, split_lines(pairs), marked)
    console = Console(width=110, file=io.StringIO(), force_terminal=False)
    console.print(drawn)
    below = "".join(f"{MARK} {one_line(line)}\n" for line in explain({run.name: flaws}))
    return console.file.getvalue() + below


def _add(drawn: Table, lines: Iterable[Line], marked: set[str]) -> None:
    for line in lines:
        estimate = line.estimate
        judged, people = (estimate.questions, estimate.people) if estimate else (0, 0)
        counts = (f"{judged} of {line.answers}", people, line.unparsed, line.failed, line.empty)
        mark = f" {MARK}" if line.name in marked else ""
        drawn.add_row(line.name, f"{_number(estimate)}{mark}", *map(str, counts))


def _number(estimate: Estimate | None) -> str:
    if estimate is None:
        return "-"
    return f"{estimate.mean:.2f}" + ("" if estimate.stderr is None else f" ±{estimate.stderr:.2f}")


def reasons(pairs: Sequence[tuple[Sample, Outcome]]) -> dict[str, int]:
    """Why answers failed, and how many each."""
    found: dict[str, int] = {}
    for _, outcome in pairs:
        if outcome.status is Status.FAILED:
            found[outcome.words] = found.get(outcome.words, 0) + 1
    return found
