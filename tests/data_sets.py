"""Small data sets in the hub layout, made from the mini benchmark's writer and then spoilt on purpose."""

import shutil
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from mllmu_tasks.benchmarks.mini import data_folder


def copy_mini(folder: Path) -> Path:
    """A private copy of the embedded mini benchmark."""
    shutil.copytree(data_folder(), folder)
    return folder


def change(folder: Path, config: str, edit: Callable[[list[dict]], list[dict] | None]) -> None:
    """Rewrite a config's rows; `edit` changes the list in place or returns another one."""
    (file,) = (folder / config).glob("*.parquet")
    table = pq.read_table(file)
    rows = table.to_pylist()
    changed = edit(rows)
    pq.write_table(pa.Table.from_pylist(rows if changed is None else changed, schema=table.schema), file)


def retype(folder: Path, config: str, edit: Callable[[pa.Table], pa.Table]) -> None:
    """Rewrite a config's table, columns and types included."""
    (file,) = (folder / config).glob("*.parquet")
    pq.write_table(edit(pq.read_table(file)), file)
