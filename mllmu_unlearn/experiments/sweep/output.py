"""Rows -> text, Markdown, CSV and JSON, and a block of a document that a sweep replaces."""

import csv
import io
import os
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console
from rich.table import Table
from rich.text import Text

from mllmu_tasks.artifacts.folders import write_whole
from mllmu_tasks.benchmarks.mllmu.spec import Split
from mllmu_tasks.errors import UserError
from mllmu_tasks.results.stats.means import Estimate
from mllmu_tasks.results.tables.table import ARROWS
from mllmu_tasks.text_safety import csv_cell, json_text, one_line
from mllmu_tasks.text_safety import markdown as escaped
from mllmu_tasks.user_files import read_text
from mllmu_unlearn.experiments.sweep.rows import Row

SCHEMA = 1


def text(rows: Sequence[Row]) -> str:
    table = Table()
    head, *body = _cells(rows)
    for label in head:
        table.add_column(label, justify="left" if label in ("", "verdict") else "right", no_wrap=True)
    for line in body:
        table.add_row(*(Text(one_line(cell)) for cell in line))
    console = Console(width=200, file=io.StringIO(), force_terminal=False)
    console.print(table)
    return console.file.getvalue()


def markdown(rows: Sequence[Row]) -> str:
    head, *body = _cells(rows)
    lines = [head, ["---"] * len(head), *(map(escaped, line) for line in body)]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


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
    splits = [split for split in Split if any(split in row.scores for row in rows)]
    trained = [row for row in rows if row.trainable is not None]
    head = ["", *(f"{split}{ARROWS[split]}" for split in splits)]
    head += ["time", "trained parameters", "verdict"] if trained or any(row.failed for row in rows) else []
    lines = [head]
    for row in rows:
        line = [row.name, *(_score(row.scores.get(split)) for split in splits)]
        line += [_time(row.seconds), "" if row.trainable is None else f"{row.trainable:,}"]
        lines.append([*line, "failed" if row.failed else row.verdict][: len(head)])
    return lines


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
    for split, estimate in row.scores.items():
        flat |= {f"{split}": estimate.mean, f"{split}_stderr": estimate.stderr}
    return flat | {
        "seconds": row.seconds,
        "trainable_parameters": row.trainable,
        "verdict": row.verdict,
        "failed": row.failed,
    }
