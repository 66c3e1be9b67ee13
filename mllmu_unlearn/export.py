"""An adapter folder -> a folder that opens as a checkpoint, for backends and servers that take no adapter.

Merged: weights of its own, which everything opens. Linked: links to the base model's weights with the adapter
beside them, which takes no space; Transformers applies the adapter when it opens the folder.
"""

import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from transformers import AutoModelForImageTextToText, AutoProcessor

from mllmu_tasks.errors import UserError
from mllmu_tasks.models.adapter import AdapterFolder, attach, check_base, read_adapter
from mllmu_tasks.models.fingerprint import MODEL_FILES, local_folder
from mllmu_unlearn import card
from mllmu_unlearn.endings import NO_ROOM
from mllmu_unlearn.folders import MARK, check_output, check_replacing, whole_folder

LINKABLE = ("lora", "ia3")


def merge(adapter: Path | str, out: Path | str) -> Path:
    """Write the base weights with the adapter merged in, processor and card beside them; returns `out`.

    Raises UserError for a folder that is no adapter or whose base model is not the one it was made from.
    """
    out = Path(out)
    read, base, revision = _open(adapter)
    _check_output(out, read, {**read.record, "kind": "full"})
    check_base(read, base, revision)
    try:
        model = AutoModelForImageTextToText.from_pretrained(base, revision=revision or "main", dtype="auto")
    except (OSError, ValueError) as error:
        raise UserError(f"cannot open the base model '{base}' of '{adapter}': {error}") from error
    merged = attach(model, read, base, revision).merge_and_unload(safe_merge=True)
    try:
        with whole_folder(out) as folder:
            merged.save_pretrained(folder)
            AutoProcessor.from_pretrained(read.path).save_pretrained(folder)
            card.write(folder, {**read.record, "kind": "full"}, name=out.name)
    except SafetensorError as error:  # that is how a full disk shows
        raise UserError(NO_ROOM.format(error)) from error
    return out


def link(adapter: Path | str, out: Path | str) -> Path:
    """Write links to the base model's weights, and copies of its configuration and of the adapter; returns `out`.

    The base model has to stay where it is. Raises UserError as `merge` does, and for adapters that Transformers
    does not apply by itself.
    """
    out = Path(out)
    read, base, revision = _open(adapter)
    _check_output(out, read, read.record)
    if read.kind not in LINKABLE:
        raise UserError(f"Transformers does not open adapters of kind {read.kind} by itself; use --merge.")
    check_base(read, base, revision)
    with whole_folder(out) as folder:
        for file in sorted(local_folder(base, revision=revision).iterdir()):
            if file.suffix == ".safetensors":
                (folder / file.name).symlink_to(file.resolve())
            elif any(file.match(pattern) for pattern in MODEL_FILES):
                shutil.copyfile(file, folder / file.name)
        for file in filter(Path.is_file, sorted(read.path.iterdir())):
            shutil.copyfile(file, folder / file.name)
    return out


def _open(adapter: Path | str) -> tuple[AdapterFolder, str, str | None]:
    """(adapter, base model, its revision)."""
    read = read_adapter(adapter)
    if read.kind == "prompt":
        raise UserError(
            f"'{adapter}' is a system prompt: there are no weights to merge or link; in lmms-eval pass it to "
            f"--model mllmu_hf as peft={adapter}."
        )
    if not read.fingerprint:
        raise UserError(f"'{adapter}' has no {MARK} of ours; only adapters that mllmu wrote can be exported.")
    return read, read.base_model, read.record["base_model"].get("revision")


def _check_output(out: Path, adapter: AdapterFolder, record: Mapping[str, Any]) -> None:
    check_output(out, {"the adapter": adapter.path, "its base model": adapter.base_model})
    if check_replacing(out, record, "remove it"):
        print(f"mllmu: the finished result in {out} will be replaced")
