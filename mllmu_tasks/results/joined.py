"""Numbers that were added beside the samples of a run, as `<date>_columns_<scorer>.json`.

A file holds `scorer`, `metrics` (as in `mllmu_facts`), `of` (leaf -> sha256 of its samples file) and `rows` of
[leaf, person, question index, {metric: value}].
"""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from mllmu_tasks.errors import UserError
from mllmu_tasks.results.columns import Metric, read_metrics
from mllmu_tasks.strict_json import expect, expect_number, read_object

RESULTS_SUFFIX = "_results.json"


@dataclass(frozen=True)
class Joined:
    """The values of one question. metrics: what the scorer says of them."""

    scorer: str
    metrics: tuple[Metric, ...]
    leaf: str
    person: str
    question_index: int
    values: Mapping[str, float]


def read(file: Path) -> list[Joined]:
    """Everything that was joined to the run of a results file, scorer by scorer.

    Raises UserError for a file that cannot be read, or whose samples were written anew since.
    """
    date = file.name.removesuffix(RESULTS_SUFFIX)
    return [row for columns in sorted(file.parent.glob(f"{date}_columns_*.json")) for row in _read(columns, date)]


def _read(file: Path, date: str) -> list[Joined]:
    data = read_object(file, "file of a scorer's columns")
    try:
        scorer = expect(data, "scorer", str)
        metrics = read_metrics(expect(data, "metrics", dict))
        hashes = {leaf: expect(data["of"], leaf, str) for leaf in expect(data, "of", dict)}
        rows = [_row(row, scorer, metrics) for row in expect(data, "rows", list)]
    except ValueError as error:
        raise UserError(f"'{file}' is no file of a scorer's columns ({error}).") from error
    for leaf in {row.leaf for row in rows} | set(hashes):
        samples = file.with_name(f"{date}_samples_{leaf}.jsonl")
        if not samples.is_file() or hashlib.sha256(samples.read_bytes()).hexdigest() != hashes.get(leaf):
            raise UserError(
                f"'{file}' was made of other samples of {leaf} than lie beside it; remove it, and score the run again."
            )
    return rows


def _row(given: object, scorer: str, metrics: tuple[Metric, ...]) -> Joined:
    if not isinstance(given, list) or len(given) != 4:
        raise ValueError(f"a row is {given!r:.60}, where [leaf, person, question index, values] is needed")
    row = dict(zip(("leaf", "person", "question_index", "values"), given, strict=True))
    values = expect(row, "values", dict)
    for name in values:
        metric = next((metric for metric in metrics if metric.name == name), None)
        if metric is None or not metric.holds(expect_number(values, name)):
            raise ValueError(f"{name} is {values[name]!r:.40}, which its metrics do not describe")
    return Joined(
        scorer=scorer,
        metrics=metrics,
        leaf=expect(row, "leaf", str),
        person=expect(row, "person", str),
        question_index=expect(row, "question_index", int),
        values={name: float(value) for name, value in values.items()},
    )
