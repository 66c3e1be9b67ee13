"""`unlearning.yaml`, the record beside a result: its one reader, its one writer, and what others decide by it."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from mllmu_tasks import strict_yaml
from mllmu_tasks.errors import UserError

RECORD = "unlearning.yaml"
FORMAT = 1
MAPPINGS = ("about", "hyper_parameters", "base_model", "data", "forget", "retain", "versions", "training")
NEEDED = (*MAPPINGS, "kind", "method", "protocol", "modalities", "seed", "system_prompt")
"""What a whole record holds; some of it as mappings."""


class _Dumper(yaml.SafeDumper):
    """Block style; lists of numbers run on in few lines."""

    def represent_sequence(self, tag, sequence, flow_style=None):
        numbers = all(isinstance(item, (int, float, type(None))) for item in sequence)
        return super().represent_sequence(tag, sequence, flow_style=numbers or flow_style)


def read_record(folder: Path) -> dict:
    """The content of unlearning.yaml, {} if there is none. Raises UserError if it is not ours."""
    file = folder / RECORD
    if not file.is_file():
        return {}
    record = strict_yaml.read(file, f"'{file}'")
    if not isinstance(record, dict) or not isinstance(record.get("base_model") or {}, dict):
        raise UserError(f"'{file}' is not what `mllmu unlearn` writes: it holds no mapping, or base_model is none.")
    return record


def write_record(folder: Path, record: Mapping[str, Any]) -> None:
    """Write a record, with the number of its format."""
    text = yaml.dump({"format": FORMAT} | dict(record), Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=120)
    (folder / RECORD).write_text(text, encoding="utf-8")


def require_record(record: Mapping[str, Any], source: Path) -> None:
    """Raise UserError unless a record, which was read from `source`, is whole."""
    lacking = [key for key in NEEDED if key not in record]
    lacking += [key for key in MAPPINGS if key in record and not isinstance(record[key], Mapping)]
    lists = lacking or [isinstance(record["forget"].get("ids"), list), isinstance(record["modalities"], list)]
    if lacking or not all(lists):
        what = ", ".join(lacking) or "the ids of forget, or modalities"
        raise UserError(f"'{source}' is not what mllmu writes ({what}); make the folder anew.")


def identifies(record: Mapping[str, Any]) -> tuple:
    """What of unlearning.yaml tells whose result it is: kind, method, people."""
    forget = sorted(record["forget"]["ids"])
    return record["kind"], record["method"], forget, record["retain"]["people"], record.get("trained")


def named_people(record: Mapping[str, Any]) -> tuple[str, ...]:
    """Whom --forget_ids named, of the content of unlearning.yaml; () if a ratio did, or nobody is set apart."""
    if record["forget"].get("ratio") is not None:
        return ()
    return tuple(record["forget"].get("ids") or (record.get("trained") or {}).get("forget_set") or ())


def forgotten(record: Mapping[str, Any]) -> tuple[str, ...] | None:
    """Whom a record names as forgotten; None if it does not say.

    A retain-only model names the people that it was never shown; they count as forgotten.
    """
    trained, forget = record.get("trained"), record.get("forget")
    if isinstance(trained, Mapping) and trained.get("whom") == "retain":
        ids = trained.get("forget_set")
    else:
        ids = forget.get("ids") if isinstance(forget, Mapping) else None
    return tuple(map(str, ids)) if isinstance(ids, list) else None
