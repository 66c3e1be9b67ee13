"""May these runs stand in one table? What their results files say of data, draws and prompts, side by side."""

from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Any

from mllmu_tasks.results.columns import benchmarks_of
from mllmu_tasks.results.runs import Run

COMPARED = ("data_hash", "seed", "shots", "shot_questions")
"""What the tasks record of themselves and must agree, leaf by leaf."""


def row_names(runs: Sequence[Run]) -> list[str]:
    """A name for each run. Runs of one model that share no leaf share a name, and so a row of the table; where
    the same leaf was run twice, the names carry the runs' dates.
    """
    asked = Counter((run.name, leaf) for run in runs for leaf in run.facts)
    twice = {name for (name, _), times in asked.items() if times > 1}
    names = [f"{run.name} {run.date}" if run.name in twice else run.name for run in runs]
    dated = Counter(zip(names, (run.name in twice for run in runs), strict=True))
    return [
        f"{name} {run.file.parent}" if dated[name, True] > 1 else name for name, run in zip(names, runs, strict=True)
    ]


def differences(runs: Sequence[Run]) -> list[str]:
    """One sentence for every setting in which runs differ; empty if they may be compared.

    Data, draws and limits are compared leaf by leaf, since one run may hold a split and another run another.
    """
    sentences: dict[str, None] = {}
    first: dict[tuple[str, str], tuple[str, Any]] = {}
    for name, run in zip(row_names(runs), runs, strict=True):
        for key, leaf, value in _settings(run):
            other, its_value = first.setdefault((key, leaf), (name, value))
            if its_value != value:
                sentences[f"{key}: {other} has {its_value}, {name} has {value}"] = None
    leaves = [leaf for run in runs for leaf in run.leaves]
    for benchmark in benchmarks_of(leaves):
        ratios = sorted({leaf.ratio for leaf in leaves if leaf.ratio and leaf.benchmark == benchmark})
        if len(ratios) > 1:
            sentences[f"forget ratio: {', '.join(f'{ratio} %' for ratio in ratios)} are different people"] = None
    return list(sentences)


def _settings(run: Run) -> Iterator[tuple[str, str, Any]]:
    """(setting, leaf, value) of whatever must agree; leaf "" for what holds for the whole run."""
    yield "prompt_style", "", run.prompt_style
    for leaf, facts in run.facts.items():
        yield "limit", leaf, run.limit
        for key in COMPARED:
            yield key, leaf, facts.get(key)
