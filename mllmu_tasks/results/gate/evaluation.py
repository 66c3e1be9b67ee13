"""The runs of one model that a check or report is about, and everything that is wrong with them."""

import json
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from mllmu_tasks.errors import UserError
from mllmu_tasks.own_models import OUR_MODELS
from mllmu_tasks.results import validity
from mllmu_tasks.results.columns import RETAIN, Leaf
from mllmu_tasks.results.gate.pinned import verify
from mllmu_tasks.results.runs import Run, Sample, load_run, results_files
from mllmu_tasks.results.tables.comparable import COMPARED

FACTS = (*COMPARED, "shot_people")
"""What must agree, leaf by leaf, before two runs may be compared question by question. The people shown follow from the
rest, so a table does not name them; a gate trusts nothing."""


@dataclass(frozen=True)
class Problem:
    """Why a result cannot be trusted. leaf: the leaf or benchmark it concerns, "" for the whole side.

    hides: nothing can be concluded; otherwise a rule may still be BROKEN, but not HELD.
    """

    side: str
    leaf: str
    text: str
    hides: bool = True

    def __str__(self) -> str:
        return f"{self.side}: {self.leaf}: {self.text}" if self.leaf else f"{self.side}: {self.text}"


@dataclass(frozen=True)
class Evaluation:
    """All runs of one model: role is `results`, `baseline` or `reference`."""

    role: str
    runs: tuple[Run, ...]
    samples: dict[str, tuple[Sample, ...]]
    facts: dict[str, dict]
    problems: tuple[Problem, ...]

    @property
    def name(self) -> str:
        return self.runs[0].name

    @property
    def ratios(self) -> set[int]:
        return {leaf.ratio for run in self.runs for leaf in run.leaves if leaf.ratio}

    def benchmark(self, task: str) -> tuple[Run, dict] | None:
        """The run with the results of another task, and these results."""
        return next(((run, run.other_results[task]) for run in self.runs if task in run.other_results), None)


def open_side(role: str, paths: Sequence[Path], least_answered: float) -> Evaluation:
    """Read one side. Raises UserError if there is nothing to read, or it is not one evaluation of one model."""
    for path in paths:
        verify(path)
    runs = tuple(run for path in paths for run in map(load_run, results_files(path)))
    if not any(run.leaves or run.other_results for run in runs):
        raise UserError(
            f"{role}: {', '.join(map(str, paths))} holds no results; lmms-eval ends with exit code 0 even when a run "
            "failed or was killed, so read its log, and run it with --log_samples --output_path."
        )
    return side_of(role, runs, least_answered)


def side_of(role: str, runs: tuple[Run, ...], least_answered: float) -> Evaluation:
    """The side of runs that are loaded already. Raises UserError if they are not one evaluation of one model."""
    _one_evaluation(role, runs)
    samples: dict[str, list[Sample]] = {leaf.name: [] for run in runs for leaf in run.leaves}
    for run in runs:
        for sample in run.samples:
            samples[sample.leaf.name].append(sample)
    facts = {name: found for run in runs for name, found in run.facts.items()}
    return Evaluation(
        role=role,
        runs=runs,
        samples={name: tuple(found) for name, found in samples.items()},
        facts=facts,
        problems=tuple(p for run in runs for p in _problems(role, run, least_answered)),
    )


def _one_evaluation(role: str, runs: Sequence[Run]) -> None:
    tasks = Counter(task for run in runs for task in (*(leaf.name for leaf in run.leaves), *run.other_results))
    twice = [task for task, count in tasks.items() if count > 1]
    if twice:
        files = ", ".join(str(run.file) for run in runs)
        raise UserError(f"{role}: {twice[0]} was evaluated more than once ({files}); give one of these files.")
    models = {(run.model, run.model_args) for run in runs}
    if len(models) > 1:
        named = "; ".join(f"{model} {arguments}" for model, arguments in sorted(models))
        raise UserError(f"{role}: results of different models ({named}); give the results of one.")


def _problems(role: str, run: Run, least_answered: float) -> Iterable[Problem]:
    if partial := validity.limits(run):
        yield Problem(role, "", partial)
    for task in run.unknown:
        yield Problem(role, task, "is no task that this version knows")
    for leaf, samples in validity.by_leaf(run).items():
        yield from _leaf_problems(role, run, leaf, samples)
        yield from _silence(role, run, leaf, samples, least_answered)


def _leaf_problems(role: str, run: Run, leaf: Leaf, samples: list[Sample]) -> Iterable[Problem]:
    facts = run.facts[leaf.name]
    if not facts.get("data_hash"):
        yield Problem(role, leaf.name, "does not say which data it asked about (mllmu_facts)")
    if not samples:
        yield Problem(role, leaf.name, "0 questions")
    for text in validity.damage(run, leaf, samples):
        yield Problem(role, leaf.name, text)
    for text in validity.losses(run, leaf):
        yield Problem(role, leaf.name, text, hides=False)


def _silence(role: str, run: Run, leaf: Leaf, samples: list[Sample], least: float) -> Iterable[Problem]:
    silent = sum(not sample.answered for sample in samples)
    kept = leaf.role == RETAIN
    if silent and run.model not in OUR_MODELS:
        text = f"{silent} of {len(samples)} questions not answered, and {run.model} may hide errors that way"
        yield Problem(role, leaf.name, text, hides=kept)
    elif kept and silent > (1 - least) * len(samples):
        yield Problem(role, leaf.name, f"{silent} of {len(samples)} questions not answered", hides=False)


def incomparable(here: Evaluation, there: Evaluation) -> list[Problem]:
    """Why the two sides may not be compared: other data, seed, shots, prompt style, generation settings, questions."""
    found = []
    for key, values in {
        "prompt_style": [{run.prompt_style for run in side.runs} for side in (here, there)],
        "gen_kwargs": [{_plain(run.config.get("gen_kwargs")) for run in side.runs} for side in (here, there)],
    }.items():
        if values[0] != values[1]:
            found.append(Problem(there.role, "", f"{key} is {_set(values[1])}, in the results it is {_set(values[0])}"))
    for leaf in sorted(set(here.facts) & set(there.facts)):
        mine, theirs = here.facts[leaf], there.facts[leaf]
        for key in FACTS:
            if mine.get(key) != theirs.get(key):
                text = f"{key} is {_short(theirs.get(key))}, in the results it is {_short(mine.get(key))}"
                found.append(Problem(there.role, leaf, text))
        if _gold(here.samples[leaf]) != _gold(there.samples[leaf]):
            found.append(Problem(there.role, leaf, "other questions or other right answers than in the results"))
    return found


def grouped(problems: Iterable[Problem]) -> list[str]:
    """One line for problems that differ in the leaf only."""
    return validity.group((problem.side, problem.leaf, problem.text) for problem in problems)


def _gold(samples: Iterable[Sample]) -> dict[tuple, str]:
    return {(sample.person, sample.question_index): sample.gold for sample in samples}


def _plain(value: object) -> str:
    return value if isinstance(value, str) else "" if value is None else json.dumps(value, sort_keys=True)


def _set(values: set[str]) -> str:
    return " and ".join(sorted(value or "not set" for value in values))


def _short(value: object) -> str:
    text = "not recorded" if value is None else str(value)
    return text if len(text) <= 40 else f"{text[:37]}..."
