"""What a scorer is, and which there are. One file a scorer; `get` imports the one that is asked for.

A scorer turns an answer into numbers. It is a value: its name, what it needs to see, its metrics with their direction,
bounds and unit of clustering, and a pure function. This room imports nothing of benchmarks, models or results.
"""

import functools
import importlib
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from typing import Any

from mllmu_tasks.answers import clean
from mllmu_tasks.errors import UserError, did_you_mean, quoted
from mllmu_tasks.outside import execute, split_name
from mllmu_tasks.scorers.metrics import Metric, check_names

SCORING = 1
"""Goes up when an answer would get another score than before, and only then: a gate compares runs by it."""
SCORERS = {
    "choice": "mllmu_tasks.scorers.choice",
    "cloze": "mllmu_tasks.scorers.cloze",
    "rouge": "mllmu_tasks.scorers.rouge",
    "factuality": "mllmu_tasks.scorers.judge.scorer",
}
"""Name -> module with a `SCORER` of that name."""
GROUP = "mllmu.scorers"
"""Entry points of this group name a scorer each: `mine = "my_package.mine:SCORER"`."""
NAME = re.compile(r"[A-Za-z][A-Za-z0-9_.+-]{0,63}")
"""Of scorers and metrics: they become parts of file names, flags and columns."""
Options = Mapping[str, str | None]
Score = Callable[[str, str, Options], Mapping[str, Any]]


class Needs(StrEnum):
    """What a scorer looks at: an answer while lmms-eval runs, or samples that were logged before."""

    TEXT = "text"
    TOKEN_LOGPROBS = "token_logprobs"
    HIDDEN_STATES = "hidden_states"
    LOGGED = "logged"


@dataclass(frozen=True)
class Scorer:
    """metrics: the one that is the answer's `score` first.

    score: (answer, gold, options) -> {metric: number}, for `text`. The answer is clean (`answers.clean`), the gold
    never empty, options letter -> text or {}. It may add `prediction` (a text: what was read of the answer) and
    `parsed` (0 or 1: whether that could be read). It runs in several threads at a time.
    rescores: of a scorer of logged samples: the text scorer whose answers it scores; "" all.
    """

    name: str
    metrics: tuple[Metric, ...]
    score: Score | None = None
    needs: Needs = Needs.TEXT
    rescores: str = ""

    def describe(self) -> dict[str, dict[str, Any]]:
        """Metric name -> direction, bounds and cluster, as results files hold them."""
        return {metric.name: metric.describe() for metric in self.metrics}


def score_answer(scorer: Scorer, raw: str, gold: str, options: Options) -> dict[str, float | str]:
    """One answer: `score` first, then the metrics, then prediction, answered and parsed.

    raw: the model's text. Raises UserError for a scorer that needs more than it, or breaks its own declaration.
    """
    if scorer.score is None:
        raise UserError(f"the scorer '{scorer.name}' cannot score a text by itself; it scores answers that are logged.")
    answer = clean(raw)
    answered = float(bool(answer))
    found = dict(scorer.score(answer, gold, options))
    prediction, parsed = found.pop("prediction", answer), found.pop("parsed", answered)
    _check_values(scorer, found)
    return {
        "score": found[scorer.metrics[0].name],
        **found,
        "mllmu_answered": answered,
        "prediction": prediction,
        "answered": answered,
        "parsed": parsed,
    }


def _check_values(scorer: Scorer, found: Mapping[str, Any]) -> None:
    declared = {metric.name: metric for metric in scorer.metrics}
    if found.keys() != declared.keys():
        raise UserError(
            f"the scorer '{scorer.name}' returned {quoted(', '.join(map(str, found)))}, and declares "
            f"{', '.join(declared)}; return its metrics and no others."
        )
    for name, metric in declared.items():
        if not metric.holds(found[name]):
            raise UserError(
                f"the scorer '{scorer.name}' gave {quoted(found[name])} for {name}, no number within its bounds."
            )


def names() -> list[str]:
    """All scorers that `get` knows by name, without importing them."""
    return [*SCORERS, *sorted(set(_installed()) - set(SCORERS))]


def get(name: str) -> Scorer:
    """The scorer of a name, or of `path.py:NAME`. Raises UserError for one that is not there or not sound."""
    if name in SCORERS:
        return importlib.import_module(SCORERS[name]).SCORER
    try:
        place = split_name(name)
    except ValueError:
        raise UserError(f"which scorer of {name}? Write {name}:NAME.") from None
    if place:
        return _of_file(*place)
    entries = _installed()
    if name not in entries:
        raise UserError(f"there is no scorer {quoted(name)}.{did_you_mean(name, names())}")
    return _of_entry(entries[name])


def scorer_of(metrics: Iterable[str]) -> Scorer | None:
    """The one text scorer installed here all of whose metrics are among these; None if there is none, or several.

    Whatever a results file says, no file that it names is executed.
    """
    known = set(metrics)
    every = [get(name) for name in names()]
    fitting = [s for s in every if s.needs is Needs.TEXT and known.issuperset(metric.name for metric in s.metrics)]
    return fitting[0] if len(fitting) == 1 else None


@functools.cache
def _installed() -> dict[str, EntryPoint]:
    return {entry.name: entry for entry in entry_points(group=GROUP)}


def _of_file(path: Path, name: str) -> Scorer:
    return _of_module(str(path.resolve()), name)


@functools.lru_cache(maxsize=32)
def _of_module(path: str, name: str) -> Scorer:
    module = execute(Path(path), "scorer")
    scorers = {key: value for key, value in vars(module).items() if isinstance(value, Scorer)}
    if name not in scorers:
        known = did_you_mean(name, scorers) if scorers else " It holds no mllmu_tasks.scorers.base.Scorer."
        raise UserError(f"'{path}' has no scorer {quoted(name)}.{known}")
    return check(scorers[name], path)


def _of_entry(entry: EntryPoint) -> Scorer:
    where = f"the entry point '{entry.name}' ({entry.value})"
    try:
        scorer = entry.load()
    except Exception as error:
        raise UserError(
            f"{where} cannot be imported ({type(error).__name__}: {error}); mend or uninstall its package."
        ) from error
    if not isinstance(scorer, Scorer):
        raise UserError(f"{where} is no mllmu_tasks.scorers.base.Scorer; mend or uninstall its package.")
    if scorer.name != entry.name:
        raise UserError(f"{where} names a scorer called '{scorer.name}'; they must be equal.")
    return check(scorer, where)


def check(scorer: Scorer, where: str) -> Scorer:
    """A scorer from outside, if it is complete and its names collide with none of ours. Raises UserError."""
    if scorer.name in SCORERS:
        raise UserError(f"{where}: '{scorer.name}' is a scorer of mllmu already; give it another name.")
    if not scorer.metrics:
        raise UserError(f"{where}: the scorer {quoted(scorer.name)} declares no metric.")
    for name in (scorer.name, *(metric.name for metric in scorer.metrics)):
        if not isinstance(name, str) or not NAME.fullmatch(name):
            raise UserError(f"{where}: {quoted(name)} is no name; begin with a letter, and use letters, digits and _.")
    if (scorer.score is None) == (scorer.needs is Needs.TEXT):
        raise UserError(f"{where}: a scorer that needs '{Needs.TEXT}' has a function `score`, and no other has.")
    for metric in scorer.metrics:
        if not metric.low < metric.high:
            raise UserError(f"{where}: the bounds of {metric.name} are {metric.low} and {metric.high}; low is first.")
    ours = [metric.name for known in SCORERS for metric in get(known).metrics]
    check_names([metric.name for metric in scorer.metrics], ours, where)
    return scorer
