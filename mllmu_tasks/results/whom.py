"""Whom a model says it forgot, and whom its forget questions are about: a score of other people says little."""

from pathlib import Path

from mllmu_tasks.benchmark import Split
from mllmu_tasks.errors import UserError
from mllmu_tasks.models.adapter import read_record
from mllmu_tasks.results.runs import Run
from mllmu_tasks.results.sides import Side

NAMED = 5
"""So many ids are named in a note."""


def notes(side: Side) -> list[str]:
    """One sentence a run whose people are not those of the model's unlearning.yaml, or where that is damaged."""
    return list(dict.fromkeys(note for run in side.runs for note in _notes(run)))


def _notes(run: Run) -> list[str]:
    try:
        forgotten = _forgotten(run)
    except (UserError, OSError) as error:
        return [f"whom '{run.name}' forgot is not known: {error}"]
    if not forgotten:
        return []
    of = {split: {s.person for s in run.samples if s.leaf.split is split} for split in (Split.FORGET, Split.RETAIN)}
    found = []
    if others := sorted(of[Split.FORGET] - forgotten):
        found.append(f"the forget questions are about {_listed(others)}, whom '{run.name}' did not forget")
    if kept := sorted(of[Split.RETAIN] & forgotten):
        found.append(f"the retain questions are about {_listed(kept)}, whom '{run.name}' forgot")
    remedy = "evaluate it with its own ratio, or with the data of `mllmu data request`"
    return [f"{' and '.join(found)}; {remedy}"] if found else []


def _forgotten(run: Run) -> set[str]:
    """Empty where there is no record to read: a hub id, a folder that is gone, a model that forgot nobody.

    Raises UserError or OSError for one that cannot be read.
    """
    folder = Path(run.argument("peft") or run.argument("pretrained") or "-")
    forget = read_record(folder).get("forget") if folder.is_dir() else None
    return set(forget.get("ids") or ()) if isinstance(forget, dict) else set()


def _listed(ids: list[str]) -> str:
    more = f" and {len(ids) - NAMED} more" if len(ids) > NAMED else ""
    return f"{', '.join(ids[:NAMED])}{more}"
