"""Numbers that a scorer put beside a run's samples: `<date>_columns_<scorer>.json`, joined by leaf, person, question.

A file holds `scorer`, `metrics` (as in `mllmu_facts`), `about` (what else decides the values, such as the judge's
model), `of` (leaf -> sha256 of its samples file) and `rows` of [leaf, person, question index, {metric: value}].
"""

import glob
import hashlib
import json
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mllmu_tasks.artifacts.folders import write_whole
from mllmu_tasks.errors import UserError, reason_of, shown
from mllmu_tasks.scorers import base
from mllmu_tasks.scorers.metrics import Metric, check_names, read_metrics
from mllmu_tasks.strict_json import expect, expect_number, loads
from mllmu_tasks.text_safety import one_line
from mllmu_tasks.user_files import open_regular

RESULTS_SUFFIX = "_results.json"
SCHEMA = 1
MOST_BYTES = 64 * 2**20
"""Of a file; a value takes about a hundred."""
Key = tuple[str, str, int]
"""Leaf, person, question index."""


@dataclass(frozen=True)
class Joined:
    """The values of one question. metrics: what the scorer says of them. about: see above."""

    scorer: str
    metrics: tuple[Metric, ...]
    leaf: str
    person: str
    question_index: int
    values: Mapping[str, float]
    about: Mapping[str, str]


def columns_file(file: Path, scorer: str) -> Path:
    """Where the values of a scorer lie. file: the results file of the run."""
    return file.with_name(f"{file.name.removesuffix(RESULTS_SUFFIX)}_columns_{scorer}.json")


def columns_files(file: Path) -> list[Path]:
    """Those of all scorers."""
    return sorted(file.parent.glob(f"{glob.escape(file.name.removesuffix(RESULTS_SUFFIX))}_columns_*.json"))


def write(
    file: Path, scorer: base.Scorer, values: Mapping[Key, Mapping[str, float]], leaves: Iterable[str], about: dict
) -> Path:
    """Write what a scorer says of the samples of some leaves, whole or not at all; returns the columns file.

    file: the results file of the run. A question without values got none. Raises UserError if it cannot be written.
    """
    content = {
        "schema": SCHEMA,
        "scorer": scorer.name,
        "metrics": scorer.describe(),
        "about": about,
        "of": {leaf: _hash(_samples_file(file, leaf)) for leaf in leaves},
        "rows": [[*key, dict(found)] for key, found in values.items()],
    }
    place = columns_file(file, scorer.name)
    write_whole(place, json.dumps(content, ensure_ascii=False) + "\n")
    return place


def _to_stderr(sentence: str) -> None:
    print(f"mllmu: {one_line(sentence)}", file=sys.stderr)


def read(file: Path, say: Callable[[str], None] = _to_stderr) -> list[Joined]:
    """Everything that was joined to the run of a results file, scorer by scorer.

    Values of samples that were written anew since are left out, and `say` gets a sentence about them. Raises UserError
    for a file that is damaged or too large, and for a metric that stands in two files or in the samples themselves.
    """
    rows: list[Joined] = []
    metrics = [metric.name for name in base.SCORERS if base.get(name).score for metric in base.get(name).metrics]
    for place in columns_files(file):
        data = _open(place)
        try:
            scorer, hashes, found = _parse(data)
        except ValueError as error:
            raise _damaged(place, error) from error
        if place != columns_file(file, scorer):
            raise _damaged(place, ValueError(f"'scorer' is {shown(scorer)}, which its name does not say"))
        own = [metric.name for metric in read_metrics(data["metrics"])]
        check_names(own, metrics, f"'{place}'")
        metrics += own
        stale = [leaf for leaf, digest in hashes.items() if _hash(_samples_file(file, leaf)) != digest]
        if stale:
            more = f" and {len(stale) - 1} more tasks" if len(stale) > 1 else ""
            say(f"'{place}' was made of other samples of {stale[0]}{more}, and is not used there; run {scorer} again.")
        rows += [row for row in found if row.leaf not in stale]
    return rows


def _open(place: Path) -> dict[str, Any]:
    with open_regular(place, f"the columns file '{place}'") as content:
        text = content.read(MOST_BYTES + 1)
    if len(text) > MOST_BYTES:
        raise _damaged(place, ValueError(f"it has more than {MOST_BYTES:,} bytes"))
    try:
        data = loads(text)
    except ValueError as error:
        raise _damaged(place, error) from error
    if not isinstance(data, dict) or data.get("schema") != SCHEMA:
        raise _damaged(place, ValueError(f"it holds no object of schema {SCHEMA}"))
    return data


def _damaged(place: Path, error: ValueError) -> UserError:
    return UserError(f"'{place}' is no file of a scorer's columns ({reason_of(error)}); remove it, and score again.")


def _parse(data: dict[str, Any]) -> tuple[str, dict[str, str], list[Joined]]:
    """Scorer, leaf -> hash of its samples, rows. Raises ValueError."""
    scorer = expect(data, "scorer", str)
    metrics = read_metrics(expect(data, "metrics", dict))
    about = {name: expect(data["about"], name, str) for name in expect(data, "about", dict)}
    hashes = {leaf: expect(data["of"], leaf, str) for leaf in expect(data, "of", dict)}
    rows = list(_rows(expect(data, "rows", list), scorer, metrics, about))
    if len({(row.leaf, row.person, row.question_index) for row in rows}) < len(rows):
        raise ValueError("a question has two rows")
    strange = next((row.leaf for row in rows if row.leaf not in hashes), None)
    if strange is not None:
        raise ValueError(f"'of' lacks {shown(strange)}, which has a row")
    return scorer, hashes, rows


def _rows(given: list, scorer: str, metrics: tuple[Metric, ...], about: dict[str, str]) -> Iterator[Joined]:
    known = {metric.name: metric for metric in metrics}
    for row in given:
        if not isinstance(row, list) or len(row) != 4:
            raise ValueError(f"a row is {shown(row)}, where [leaf, person, question index, values] is needed")
        fields = dict(zip(("leaf", "person", "question_index", "values"), row, strict=True))
        values = expect(fields, "values", dict)
        for name, value in values.items():
            if name not in known or not known[name].holds(value):
                raise ValueError(f"{shown(name)} is {shown(value)}, which 'metrics' does not allow")
        yield Joined(
            scorer=scorer,
            metrics=metrics,
            leaf=expect(fields, "leaf", str),
            person=expect(fields, "person", str),
            question_index=expect(fields, "question_index", int),
            values={name: expect_number(values, name) for name in values},
            about=about,
        )


def _samples_file(file: Path, leaf: str) -> Path:
    return file.with_name(f"{file.name.removesuffix(RESULTS_SUFFIX)}_samples_{leaf}.jsonl")


def _hash(samples: Path) -> str:
    """sha256 hex of a samples file; "" if there is none."""
    try:
        with open_regular(samples, f"'{samples}'") as content:
            digest = hashlib.sha256()
            while part := content.read(2**20):
                digest.update(part)
            return digest.hexdigest()
    except UserError:
        return ""
