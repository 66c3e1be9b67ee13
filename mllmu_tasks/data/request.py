"""Named people -> a data folder of their own, in the hub's layout, whose forget set is exactly these people.

The tasks know people by ratio; under this folder `mllmu_forget` and `mllmu_test` ask about the named people and
`mllmu_retain` about everyone else. There is no other ratio in it, so nothing asks about other people by mistake.
"""

import difflib
import os
import shutil
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import yaml

from mllmu_tasks import __version__, strict_yaml
from mllmu_tasks.artifacts.folders import whole_folder
from mllmu_tasks.artifacts.identity import ADAPTER_FILES, file_hash, local_folder
from mllmu_tasks.artifacts.record import named_people, read_record
from mllmu_tasks.benchmarks.mllmu.spec import (
    DEFAULT_RATIO,
    FULL_CONFIG,
    REAL_CONFIG,
    TEST_CONFIG,
    TRAIN_CONFIG,
    forget_config,
    group_name,
    retain_config,
)
from mllmu_tasks.data.files import REQUEST_MARK as MARK
from mllmu_tasks.data.source import Source, open_source
from mllmu_tasks.errors import UserError, escape_line, reason_of
from mllmu_tasks.user_files import read_text

FORGET, RETAIN = forget_config(DEFAULT_RATIO), retain_config(DEFAULT_RATIO)
"""The named people take the place of the 5 % set, whose tasks have the plain names."""
CONFIGS = (FULL_CONFIG, TEST_CONFIG, REAL_CONFIG, FORGET, RETAIN, TRAIN_CONFIG)
FORMAT = 1


@dataclass(frozen=True)
class Request:
    """forget, retain: ids in row order. made: False if the folder was there already. untested: without a test row."""

    folder: Path
    forget: tuple[str, ...]
    retain: tuple[str, ...]
    made: bool
    untested: tuple[str, ...]


def id_list(text: str | None) -> tuple[str, ...]:
    """`009,032` or a file of ids (commas, spaces, lines between) -> ids. Raises UserError for none at all."""
    if text is None:
        return ()
    named = os.path.isfile(text)  # of a list too long for a name this says no, where Path raises
    content = read_text(Path(text), f"the file of ids '{text}'") if named else text
    ids = tuple(dict.fromkeys(content.replace(",", " ").split()))
    if not ids:
        raise UserError("forget_ids names nobody.")
    return ids


def divided(source: Source, ids: Iterable[str]) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """(named, everyone else) of `Full_Set`, in row order. Raises UserError for unknown ids or an empty side."""
    everyone, named = [person.id for person in source.people(FULL_CONFIG)], set(ids)
    unknown = sorted(named - set(everyone))
    if unknown:
        few = ", ".join(escape_line(i) for i in unknown[:5])
        raise UserError(
            f"no such people in {FULL_CONFIG} of {source.name}: {few}"
            f"{' and more' if len(unknown) > 5 else ''};{_near(unknown[0], everyone)}"
        )
    if len(named) == len(everyone):
        raise UserError("every person would be forgotten and none retained; name fewer people.")
    return tuple(i for i in everyone if i in named), tuple(i for i in everyone if i not in named)


def _near(word: str, known: Sequence[str]) -> str:
    """The known id that differs in its zeros; else, but for numbers, which all look alike, the nearest one."""
    if word.isdecimal():
        near = [i for i in known if i.isdecimal() and int(i) == int(word)]
    else:
        near = difflib.get_close_matches(word, known, n=1)
    return f" did you mean '{near[0]}'?" if near else f" ids look like '{known[0]}'."


def of_adapter(name: str) -> dict[str, Any]:
    """The record of a result (a folder or a hub id) that forgot named people. Raises UserError for any other."""
    record = read_record(local_folder(name, ADAPTER_FILES))
    if not record:
        raise UserError(f"'{name}' has no unlearning.yaml that says whom it forgot; give --forget_ids instead.")
    try:
        ratio, ids = record["forget"].get("ratio"), named_people(record)
    except (AttributeError, KeyError, TypeError) as error:
        raise UserError(f"unlearning.yaml of '{name}' is not what `mllmu unlearn` writes ({error!r}).") from error
    if ratio is not None:
        raise UserError(
            f"'{name}' was made with --forget_ratio {ratio}: --tasks {group_name(None, ratio)} asks about its people, "
            "and no other data are needed."
        )
    if not ids:
        raise UserError(f"'{name}' names nobody who was forgotten; give --forget_ids instead.")
    return record


def source_of(record: Mapping[str, Any], adapter: str, data: str | None = None) -> Source:
    """The data of a result's record, or those given if they are the same. Raises UserError for other people's."""
    try:
        source = open_source(data or record["data"]["source"])
    except UserError as error:
        raise UserError(f"'{adapter}' was made from data that are not here; give them as --data. ({error})") from error
    wanted, _, elsewhere = record["data"]["hash"].partition("+")
    configs = [FULL_CONFIG]
    if "image" in record["modalities"] and not elsewhere:  # else the image pairs came from --train_data
        configs.append(TRAIN_CONFIG)
    if source.hash(configs) != wanted:
        raise UserError(
            f"'{adapter}' was made from other data than '{source.name}' ({' and '.join(configs)} differ); give its own "
            "as --data, or --forget_ids instead of --adapter to ask about these ids all the same."
        )
    return source


def is_request(spec: str) -> bool:
    """Whether data of this name are a folder that `write` made."""
    return (Path(spec) / MARK).is_file()


def write(source: Source, ids: Iterable[str], out: Path) -> Request:
    """Make the folder: beside its place, renamed when complete. An equal one that is there already stays.

    `Full_Set`, `Test_Set`, `Retain_Set` (the celebrities) and, if the source has it, `ft_Data` are copies. Raises
    UserError for unknown ids, data that cannot be read, and anything else that is at `out`.
    """
    forget, retain = divided(source, ids)
    copied = [FULL_CONFIG, TEST_CONFIG, REAL_CONFIG]
    tested = source.by_id(TEST_CONFIG)
    if source.has(TRAIN_CONFIG):
        copied.append(TRAIN_CONFIG)
    record = {
        "format": FORMAT,
        "source_hash": source.hash(copied),
        "forget": list(forget),
        "retain": len(retain),
    }
    made = not out.exists()
    if made:
        _write(source, copied, record, out)
    elif not _equal(out, record):
        raise UserError(f"'{out}' exists and is not this request's data; choose another --out or remove it.")
    return Request(out, forget, retain, made, tuple(i for i in forget if i not in tested))


def _write(source: Source, copied: Iterable[str], record: Mapping[str, Any], out: Path) -> None:
    named = set(record["forget"])
    people = source.people(FULL_CONFIG)
    with whole_folder(out) as stage:
        for config in copied:
            (stage / config).mkdir(parents=True)
            for file in source.files(config):
                shutil.copyfile(file, stage / config / file.name)
        _write_rows(source, {p.row for p in people if p.id in named}, stage / FORGET)
        _write_rows(source, {p.row for p in people if p.id not in named}, stage / RETAIN)
        content = {**record, "source": source.name, "mllmu": __version__, "files": hashes(stage)}
        (stage / MARK).write_text(yaml.safe_dump(content, sort_keys=False, allow_unicode=True), encoding="utf-8")


def _write_rows(source: Source, rows: set[int], folder: Path) -> None:
    """Rows of `Full_Set`, as they are, a file for each file of it that holds one; a row group in memory at a time."""
    folder.mkdir()
    start = 0
    try:
        for file in source.files(FULL_CONFIG):
            parquet, writer = pq.ParquetFile(file), None
            for group in range(parquet.num_row_groups):
                size = parquet.metadata.row_group(group).num_rows
                here = [row - start for row in sorted(rows) if start <= row < start + size]
                if here:
                    writer = writer or pq.ParquetWriter(folder / file.name, parquet.schema_arrow, compression="zstd")
                    writer.write_table(parquet.read_row_group(group).take(pa.array(here)))
                start += size
            if writer:
                writer.close()
    except pa.ArrowException as error:
        raise UserError(f"config {FULL_CONFIG} of data '{source.name}' is unreadable ({reason_of(error)}).") from error


def _equal(folder: Path, record: Mapping[str, Any]) -> bool:
    """Whether the folder was made for the same request from the same data, and nothing in it was changed since."""
    if not is_request(str(folder)):
        return False
    before = strict_yaml.read(folder / MARK, f"'{folder / MARK}'")
    same = isinstance(before, dict) and all(before.get(key) == value for key, value in record.items())
    return same and before.get("files") == hashes(folder)


def hashes(folder: Path) -> dict[str, str]:
    """Path within a data folder -> sha256, of everything that the tasks could read."""
    files = sorted(file for file in folder.glob("*/*.parquet") if not file.name.startswith("."))
    return {file.relative_to(folder).as_posix(): file_hash(file) for file in files}
