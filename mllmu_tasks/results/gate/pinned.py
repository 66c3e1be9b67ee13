"""A pinned baseline: a folder with copies of lmms-eval output and a list of what was put there."""

import json
import shutil
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from mllmu_tasks import __version__
from mllmu_tasks.artifacts.folders import whole_folder
from mllmu_tasks.artifacts.identity import file_hash
from mllmu_tasks.errors import UserError
from mllmu_tasks.results.joined import columns_files
from mllmu_tasks.results.runs import Run
from mllmu_tasks.strict_json import expect, read_object

MANIFEST = "baseline.json"
FORMAT = 1


@dataclass(frozen=True)
class Manifest:
    """name, model, saved: for people. files: relative path -> sha256 of the copy."""

    name: str
    model: str
    model_args: str
    saved: str
    version: str
    files: dict[str, str]


def save(runs: tuple[Run, ...], out: Path, *, name: str = "", replace: bool = False) -> Manifest:
    """Copy results, samples and columns of the runs into a new folder `out`; whole or not at all. Raises UserError."""
    if out.exists():
        if not replace:
            raise UserError(f"'{out}' exists already; --replace puts the new baseline in its place.")
        if read_manifest(out) is None:  # never delete what is not ours
            raise UserError(f"'{out}' is no baseline (it has no {MANIFEST}), so --replace leaves it alone.")
    with whole_folder(out) as work:
        files = {}
        for number, run in enumerate(runs, start=1):
            place = work / f"run-{number}"
            place.mkdir()
            beside = (*run.file.parent.glob(f"{run.date}_samples_*.jsonl"), *columns_files(run.file))
            for file in (run.file, *sorted(beside)):
                shutil.copyfile(file, place / file.name)
                files[f"{place.name}/{file.name}"] = file_hash(place / file.name)
        saved = datetime.now(UTC).isoformat(timespec="seconds")
        manifest = Manifest(name or runs[0].name, runs[0].model, runs[0].model_args, saved, __version__, files)
        text = json.dumps({"format": FORMAT, **vars(manifest)}, indent=2, ensure_ascii=False)
        (work / MANIFEST).write_text(text + "\n", encoding="utf-8")
    return manifest


def read_manifest(folder: Path) -> Manifest | None:
    """The manifest of a pinned baseline; None if the folder is none. Raises UserError if it cannot be read."""
    file = folder / MANIFEST
    if not file.is_file():
        return None
    data = read_object(file, "list of a pinned baseline")
    if data.get("format", FORMAT) != FORMAT:
        raise UserError(f"'{file}' is of another format; this version reads format {FORMAT}.")
    try:
        texts = {key: expect(data, key, str) for key in ("name", "model", "model_args", "saved", "version")}
        files = {name: expect(data["files"], name, str) for name in expect(data, "files", dict)}
    except ValueError as error:
        raise UserError(f"'{file}' cannot be read ({error}); save the baseline again.") from error
    return Manifest(**texts, files=files)


def verify(folder: Path) -> Manifest | None:
    """Like read_manifest; raises UserError too if a file was changed, lost or added after saving."""
    manifest = read_manifest(folder)
    if manifest is None:
        return None
    there = {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()} - {MANIFEST}
    for name in sorted(there | set(manifest.files)):
        if name not in manifest.files:
            raise UserError(f"'{folder / name}' was added after the baseline was saved; remove it or save again.")
        if name not in there or file_hash(folder / name) != manifest.files[name]:
            raise UserError(f"'{folder / name}' was changed or lost after the baseline was saved; save it again.")
    return manifest
