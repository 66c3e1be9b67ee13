"""Is it a result? One rule for every command that shows, compares, judges, grades or publishes scores.

A leaf whose logged samples are incomplete, doubled, out of bounds or not those of the results file is damaged: no
number of it is shown. A backend of lmms-eval that left a question without an answer may have answered others wrongly
for the same reason (stock `llava_hf` answers a text question from the image question before it): all of its row is no
result. A part of the questions is a result about that part: its number is shown with a mark.
"""

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import IntEnum

from mllmu_tasks.results.columns import Leaf
from mllmu_tasks.results.runs import Run, Sample
from mllmu_tasks.strict_json import is_finite

MAY_LOSE = 0.05
"""The share of a leaf's questions that data may lose (images that cannot be read, ...) before its number is marked."""
CLOSE = 1e-6
"""How far the mean of the samples may lie from what lmms-eval has written."""


class Weight(IntEnum):
    """The heavier, the less may be read from a number."""

    PART = 1  # true of the questions that were asked
    SILENCE = 2  # others of its answers may be wrong
    DAMAGE = 3  # the files contradict themselves


@dataclass(frozen=True)
class Flaw:
    """What is wrong with the scores of a leaf (its name)."""

    leaf: str
    text: str
    weight: Weight

    @property
    def void(self) -> bool:
        """Whether the scores are no result."""
        return self.weight is not Weight.PART

    def __str__(self) -> str:
        return f"{self.leaf}: {self.text}"


def row_flaws(runs: Sequence[Run]) -> dict[str, tuple[Flaw, ...]]:
    """Leaf name -> its flaws, for all runs of one row of a table: of one model."""
    silent = silence(runs)
    found: dict[str, tuple[Flaw, ...]] = {}
    for run in runs:
        samples = by_leaf(run)
        for leaf in run.leaves:
            flaws = [Flaw(leaf.name, text, Weight.DAMAGE) for text in damage(run, leaf, samples[leaf])]
            flaws += [Flaw(leaf.name, silent, Weight.SILENCE)] if silent else []
            flaws += [Flaw(leaf.name, text, Weight.PART) for text in parts(run, leaf, samples[leaf])]
            found[leaf.name] = (*found.get(leaf.name, ()), *flaws)
    return found


def all_flaws(runs: Sequence[Run]) -> list[Flaw]:
    """The flaws of a row in the order of its leaves."""
    return [flaw for flaws in row_flaws(runs).values() for flaw in flaws]


def by_leaf(run: Run) -> dict[Leaf, list[Sample]]:
    """The samples of each leaf; [] for a leaf without."""
    found: dict[Leaf, list[Sample]] = {leaf: [] for leaf in run.leaves}
    for sample in run.samples:
        found[sample.leaf].append(sample)
    return found


def damage(run: Run, leaf: Leaf, samples: Sequence[Sample]) -> Iterator[str]:
    """Why the logged samples of a leaf cannot be what the run scored."""
    asked = run.facts[leaf.name].get("questions")
    if asked is not None and not _least(run, asked) <= len(samples) <= asked:
        yield f"{len(samples)} of {asked} questions are scored"
    if len({(sample.person, sample.question_index) for sample in samples}) < len(samples):
        yield "questions are logged twice"
    beyond = [metric for metric in leaf.metrics if not all(map(metric.holds, _values(samples, metric.name)))]
    if beyond or not all(leaf.score.holds(sample.score) for sample in samples):
        bounds = (beyond or leaf.metrics)[0]
        yield f"scores outside {bounds.low:g}..{bounds.high:g}"
    elif any(abs(sample.metrics.get(leaf.score.name, sample.score) - sample.score) > CLOSE for sample in samples):
        yield f"the score of a question is not its {leaf.score.name}"
    else:
        yield from _contradictions(run, leaf, samples)


def _least(run: Run, asked: int) -> int:
    """How many of the leaf's questions must be there: all, or as many as --limit lets pass."""
    if not limits(run):
        return asked
    whole = run.limit is not None and run.limit >= 1 and not run.config.get("offset")
    return min(asked, int(run.limit)) if whole else 0


def _values(samples: Iterable[Sample], metric: str) -> list[float]:
    return [sample.metrics[metric] for sample in samples if metric in sample.metrics]


def _contradictions(run: Run, leaf: Leaf, samples: Sequence[Sample]) -> Iterator[str]:
    """Where the means are others than the results file says."""
    columns = {"mllmu_by_person": [sample.score for sample in samples]}
    columns |= {metric.name: _values(samples, metric.name) for metric in leaf.metrics}
    for name, values in columns.items():
        reported = run.scores[leaf.name].get(f"{name},none")
        if len(values) != len(samples) or not samples or not isinstance(reported, (int, float)):
            continue
        mean = math.fsum(values) / len(values)
        if not (is_finite(reported) and abs(reported - mean) <= CLOSE):
            what = "score" if name == "mllmu_by_person" else name
            yield f"logged samples have a mean {what} of {mean:.4f}, the results file says {float(reported):.4f}"
            return


def limits(run: Run) -> str:
    """Why a run asked a part of the questions; "" if it asked all."""
    if run.limit is not None and run.limit >= 0:
        return f"a partial run (--limit {run.limit:g})"
    return f"a partial run (--offset {run.config['offset']})" if run.config.get("offset") else ""


def parts(run: Run, leaf: Leaf, samples: Sequence[Sample]) -> Iterator[str]:
    """Why a number stands for a part of the benchmark's questions."""
    asked = run.facts[leaf.name].get("questions")
    if limits(run) and (asked is None or len(samples) < asked):
        yield limits(run)
    yield from losses(run, leaf)


def losses(run: Run, leaf: Leaf) -> Iterator[str]:
    """Questions that the data hold and nobody could ask, or no metric read. Runs of older versions do not say."""
    facts = run.facts[leaf.name]
    scored, lost, unread = (facts.get(key) or 0 for key in ("questions", "lost", "unscorable"))
    if not (is_finite(lost) and is_finite(unread)):
        return
    if lost > MAY_LOSE * (scored + lost):
        reasons = facts.get("left_out") or {}
        named = ", ".join(reason for reason in reasons if reason != "shown as example")
        yield f"{lost:g} of {scored + lost:g} questions were left out" + (f" ({named})" if named else "")
    elif unread:
        yield f"{unread:g} questions were left out, whose right answers the metric cannot read"


def silence(runs: Sequence[Run]) -> str:
    """Why all of a row is no result; "" if its backend hides no failures or answered everything."""
    hiding = [run for run in runs if run.may_hide_failures]
    silent = sum(not sample.answered for run in hiding for sample in run.samples)
    if not silent:
        return ""
    asked, models = sum(len(run.samples) for run in hiding), ", ".join(sorted({run.model for run in hiding}))
    return f"{silent} of {asked} questions have no answer, and {models} may hide failures that way"


def explain(flaws: Mapping[str, Sequence[Flaw]]) -> list[str]:
    """Row name -> flaws: a line for each row and reason, with the leaves it holds for."""
    return group((name, flaw.leaf, flaw.text) for name, found in flaws.items() for flaw in found)


def group(entries: Iterable[tuple[str, str, str]]) -> list[str]:
    """(row, leaf or "", text) -> one line for entries that differ in the leaf only."""
    places: dict[tuple[str, str], dict[str, None]] = {}
    for row, leaf, text in entries:
        places.setdefault((row, text), {})[leaf] = None
    lines = []
    for (row, text), leaves in places.items():
        named = ", ".join(list(leaves)[: 3 if len(leaves) < 4 else 2])
        named += f" and {len(leaves) - 2} more" if len(leaves) > 3 else ""
        lines.append(f"{row}: {named}: {text}" if named else f"{row}: {text}")
    return lines
