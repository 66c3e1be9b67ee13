"""The `metadata` of a training row: a JSON list of {"Question", "Answer", "ID"} -> (question, answer) pairs.

Other keys are not guessed at: `question`, or `from` and `value` of a conversation, may be anything. Such entries are
left out, each with the reason, and whoever trains on too few pairs is told so.
"""

import json
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any

from mllmu_tasks.benchmarks.mllmu.rows import person_id
from mllmu_tasks.data.missing import counted, refuse_losses
from mllmu_tasks.data.people import TrainingRow
from mllmu_tasks.errors import UserError

PAIR = ("Question", "Answer")
WANTED = 'a JSON list of {"Question", "Answer", "ID"}'
NAMED = 8
"""At most so many fields of a foreign entry are named."""


def training_row(
    name: str, config: str, position: int, row: Mapping[str, Any], face: Callable[[str], str]
) -> TrainingRow:
    """A stored row (`metadata`, perhaps `ID`) of data `name`, read.

    face: whose image the row shows, asked where neither metadata nor the row names a person; it is given the words
    for the row. Raises UserError for metadata of another structure and for several people in one row.
    """
    where = f"{config} of data '{name}', row {position}"
    entries = _entries(where, row["metadata"])
    found = [_pair(where, number, entry) for number, entry in enumerate(entries)]
    named = {person_id(config, position, e["ID"]) for e in entries if e.get("ID") is not None}
    if len(named) > 1:
        raise UserError(f"{where}: metadata names several people: {', '.join(sorted(named)[:5])}.")
    if named:
        person = named.pop()
    elif row.get("ID") is not None:
        person = person_id(config, position, row["ID"])
    else:
        person = face(where)
    return TrainingRow(
        person=person,
        config=config,
        row=position,
        pairs=tuple(pair for pair in found if not isinstance(pair, str)),
        left_out=tuple(pair for pair in found if isinstance(pair, str)),
    )


def _entries(where: str, stored: object) -> list[dict]:
    try:
        entries = json.loads(stored)
    except (TypeError, ValueError, RecursionError) as error:
        raise UserError(f"{where}: metadata is not {WANTED} ({type(error).__name__}: {error}).") from error
    if not isinstance(entries, list):
        holds = f" with {', '.join(list(entries)[:NAMED])}" if isinstance(entries, dict) else ""
        raise UserError(f"{where}: metadata is a {type(entries).__name__}{holds}, not {WANTED}.")
    for number, entry in enumerate(entries):
        if not isinstance(entry, dict):
            raise UserError(f"{where}, entry {number}: metadata holds a {type(entry).__name__}, not {WANTED}.")
    return entries


def _pair(where: str, number: int, entry: dict) -> tuple[str, str] | str:
    """(question, answer), stripped, or why the entry is none. Raises UserError where one is no text."""
    missing = [name for name in PAIR if name not in entry]
    if missing:
        holds = ", ".join(list(entry)[:NAMED]) or "nothing"
        return f"no field {' and no '.join(missing)} in metadata, only {holds}"
    for name in PAIR:
        value = entry[name]
        if value is not None and not isinstance(value, str):
            raise UserError(f"{where}, pair {number}: {name} is {value!r}, not a text; put it in quotes in metadata.")
        if not (value or "").strip():
            return f"the {name.lower()} is empty"
    return entry["Question"].strip(), entry["Answer"].strip()


def check_pairs(what: str, people: Collection[str], lost: Mapping[TrainingRow, Sequence[str]], bound: float) -> None:
    """Raise UserError if more than `bound` is lost of the pairs of these people, or of the people themselves.

    lost: row of one of them -> why pairs of it cannot be used, those the row itself leaves out included.
    """
    kept = {row: len(row.pairs) + len(row.left_out) - len(reasons) for row, reasons in lost.items()}
    why = counted((reason, 1) for reasons in lost.values() for reason in reasons)
    refuse_losses(what, "training pairs", sum(why.values()), sum(kept.values()), why, bound)
    there = {row.person for row, count in kept.items() if count}
    mute = len(set(people) - there)
    refuse_losses(what, "people", mute, len(there), {"no image training pair": mute}, bound)
