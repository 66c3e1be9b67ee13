"""Rows -> text, Markdown, CSV and JSON, and a block of a document that a sweep replaces."""

import csv
import io
import os
from collections.abc import Sequence
from pathlib import Path

from mllmu_tasks.artifacts.folders import write_whole
from mllmu_tasks.errors import UserError
from mllmu_tasks.results.columns import ARROWS, Leaf, benchmarks_of
from mllmu_tasks.results.stats.means import Estimate
from mllmu_tasks.results.tables.rendering import Grid, as_markdown, as_text, terminal_width
from mllmu_tasks.text_safety import csv_cell, json_text
from mllmu_tasks.user_files import read_text
from mllmu_unlearn.experiments.sweep.rows import Row

SCHEMA = 1


def text(rows: Sequence[Row]) -> str:
    return as_text(_grid(rows), terminal_width())


def markdown(rows: Sequence[Row]) -> str:
    return as_markdown(_grid(rows))


def _grid(rows: Sequence[Row]) -> Grid:
    heads, *lines = _cells(rows)
    return Grid(heads, lines, left=frozenset({"verdict"}), sentences=frozenset({"verdict"}))


def as_json(rows: Sequence[Row]) -> str:
    return json_text({"schema": SCHEMA, "rows": [_flat(row) for row in rows]})


def as_csv(rows: Sequence[Row]) -> str:
    out = io.StringIO()
    flat = [{key: csv_cell(value) for key, value in _flat(row).items()} for row in rows]
    writer = csv.DictWriter(out, fieldnames=list(dict.fromkeys(key for line in flat for key in line)))
    writer.writeheader()
    writer.writerows(flat)
    return out.getvalue()


def replace_block(file: Path, name: str, content: str) -> None:
    """Put `content` between the marks called `name`; a new file is made of the block alone.

    Raises UserError if the file exists without the marks.
    """
    before, after = check_block(file, name)
    begin, end = _marks(name)
    write_whole(file, f"{before}{begin}\n{content}\n{end}{after}")


def check_block(file: Path, name: str) -> tuple[str, str]:
    """What stands before and after the block. Raises UserError if the file exists without the marks."""
    begin, end = _marks(name)
    if not file.exists():
        return "", "\n"
    whole = read_text(file, f"--markdown '{file}'")
    if whole.count(begin) != 1 or whole.count(end) != 1 or whole.index(begin) > whole.index(end):
        raise UserError(f"'{file}' has no place for the table: put the lines '{begin}' and '{end}' into it.")
    return whole.partition(begin)[0], whole.partition(end)[2]


def _marks(name: str) -> tuple[str, str]:
    return f"<!-- begin {name} -->", f"<!-- end {name} -->"


def machine() -> str:
    """What the times were taken on, in words."""
    import torch

    count = torch.cuda.device_count()
    gpus = f"{count} x {torch.cuda.get_device_name(0)}" if count else "no GPU"
    return f"{os.cpu_count()} CPU cores, {gpus}"


def _cells(rows: Sequence[Row]) -> list[list[str]]:
    columns = _columns(rows)
    benchmarks = benchmarks_of(columns.values())
    trained = [row for row in rows if row.trainable is not None]
    head = ["", *(f"{_named(leaf, benchmarks)}{ARROWS[leaf.wants_low]}" for leaf in columns.values())]
    head += ["time", "trained parameters", "verdict"] if trained or any(row.failed for row in rows) else []
    lines = [head]
    for row in rows:
        line = [row.name, *(_score(_by_split(row).get(place)) for place in columns)]
        line += [_time(row.seconds), "" if row.trainable is None else f"{row.trainable:,}"]
        lines.append([*line, "failed" if row.failed else row.verdict][: len(head)])
    return lines


def _columns(rows: Sequence[Row]) -> dict[tuple[str, str], Leaf]:
    leaves = sorted((leaf for row in rows for leaf in row.scores), key=lambda leaf: leaf.sorting)
    return {(leaf.benchmark, leaf.split): leaf for leaf in leaves}


def _by_split(row: Row) -> dict[tuple[str, str], Estimate]:
    return {(leaf.benchmark, leaf.split): estimate for leaf, estimate in row.scores.items()}


def _named(leaf: Leaf, benchmarks: Sequence[str]) -> str:
    """Its split; the ratio is that of the whole sweep."""
    return leaf.split if len(benchmarks) < 2 else f"{leaf.benchmark}_{leaf.split}"


def _score(estimate: Estimate | None) -> str:
    if estimate is None:
        return "-"
    error = "" if estimate.stderr is None else f" ±{estimate.stderr:.2f}".replace("±0.", "±.")
    return f"{estimate.mean:.2f}{error}"


def _time(seconds: float | None) -> str:
    if seconds is None:
        return ""
    return f"{seconds:.0f} s" if seconds < 600 else f"{seconds / 60:.0f} min"


def _flat(row: Row) -> dict:
    flat: dict = {"name": row.name}
    benchmarks = benchmarks_of(row.scores)
    for leaf, estimate in row.scores.items():
        split = _named(leaf, benchmarks)
        flat |= {split: estimate.mean, f"{split}_stderr": estimate.stderr}
    return flat | {
        "seconds": row.seconds,
        "trainable_parameters": row.trainable,
        "verdict": row.verdict,
        "failed": row.failed,
    }
