"""An adapter folder -> a folder that opens as a checkpoint, for backends and servers that take no adapter.

Merged: weights of its own, which everything opens. Linked: links to the base model's weights with the adapter
beside them, which takes no space; Transformers applies the adapter when it opens the folder.
"""

import shutil
from pathlib import Path

import yaml
from transformers import AutoModelForImageTextToText, AutoProcessor

from mllmu_tasks.errors import UserError
from mllmu_tasks.models.adapter import attach, read_adapter, weights_fingerprint
from mllmu_tasks.models.fingerprint import MODEL_FILES, local_folder
from mllmu_unlearn import card
from mllmu_unlearn.adapters import base_of
from mllmu_unlearn.folders import MARK, check_output, check_replacing, whole_folder

LINKABLE = ("lora", "ia3")


def merge(adapter: Path | str, out: Path | str) -> Path:
    """Write the base weights with the adapter merged in, processor and card beside them; returns `out`.

    Raises UserError for a folder that is no adapter or whose base model is not the one it was made from.
    """
    adapter, out = Path(adapter), Path(out)
    base, revision = base_of(adapter)
    record = _record(adapter)
    _check_output(out, adapter, base, {**record, "kind": "full"})
    _check_base(adapter, base, revision, record)
    try:
        model = AutoModelForImageTextToText.from_pretrained(base, revision=revision or "main", dtype="auto")
    except (OSError, ValueError) as error:
        raise UserError(f"cannot open the base model '{base}' of '{adapter}': {error}") from error
    merged = attach(model, read_adapter(adapter), base, revision).merge_and_unload(safe_merge=True)
    with whole_folder(out) as folder:
        merged.save_pretrained(folder)
        AutoProcessor.from_pretrained(adapter).save_pretrained(folder)
        card.write(folder, {**record, "kind": "full"}, name=out.name)
    return out


def link(adapter: Path | str, out: Path | str) -> Path:
    """Write links to the base model's weights, and copies of its configuration and of the adapter; returns `out`.

    The base model has to stay where it is. Raises UserError as `merge` does, and for adapters that Transformers
    does not apply by itself.
    """
    adapter, out = Path(adapter), Path(out)
    base, revision = base_of(adapter)
    record = _record(adapter)
    _check_output(out, adapter, base, record)
    if record["kind"] not in LINKABLE:
        raise UserError(f"Transformers does not open adapters of kind {record['kind']} by itself; use --merge.")
    _check_base(adapter, base, revision, record)
    with whole_folder(out) as folder:
        for file in sorted(local_folder(base, revision=revision).iterdir()):
            if file.suffix == ".safetensors":
                (folder / file.name).symlink_to(file.resolve())
            elif any(file.match(pattern) for pattern in MODEL_FILES):
                shutil.copyfile(file, folder / file.name)
        for file in filter(Path.is_file, sorted(adapter.iterdir())):
            shutil.copyfile(file, folder / file.name)
    return out


def _check_output(out: Path, adapter: Path, base: str, record: dict) -> None:
    check_output(out, {"the adapter": adapter, "its base model": base})
    if check_replacing(out, record, "remove it"):
        print(f"mllmu: the finished result in {out} will be replaced")


def _record(adapter: Path) -> dict:
    file = adapter / MARK
    if not file.is_file():
        raise UserError(f"'{adapter}' has no {MARK}; only adapters that mllmu wrote can be exported.")
    return yaml.safe_load(file.read_text(encoding="utf-8"))


def _check_base(adapter: Path, base: str, revision: str | None, record: dict) -> None:
    made_from = record["base_model"]["fingerprint"]
    if weights_fingerprint(base, revision) != made_from:
        raise UserError(
            f"the weights of '{base}' are not those that '{adapter}' was made from (fingerprint {made_from})."
        )
