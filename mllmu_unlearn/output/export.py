"""An adapter folder -> a folder that opens as a checkpoint, for backends and servers that take no adapter.

Merged: weights of its own, which everything opens. Linked: links to the base model's weights with the adapter
beside them, which takes no space; Transformers applies the adapter when it opens the folder.
"""

import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from safetensors import SafetensorError

from mllmu_tasks.artifacts.adapter_folder import AdapterFolder, attach, check_base, read_adapter
from mllmu_tasks.artifacts.folders import check_output, check_replacing, whole_folder
from mllmu_tasks.artifacts.identity import MODEL_FILES, local_folder
from mllmu_tasks.artifacts.only_writer import only_writer
from mllmu_tasks.artifacts.record import RECORD, require_record
from mllmu_tasks.artifacts.weight_files import PICKLES, require_finite_model
from mllmu_tasks.errors import UserError, reason_of
from mllmu_tasks.models.loading import load_processor, open_model, require_model_files
from mllmu_unlearn.output import card

LINKABLE = ("lora", "ia3")


def merge(adapter: Path | str, out: Path | str, base: str | None = None, declared: bool = False) -> Path:
    """Write the base weights with the adapter merged in, processor and card beside them; returns `out`.

    base: folder or hub id of the base model, where the name in the adapter does not lead to it; needed for an adapter
    that mllmu did not write, whose merged model has no card. declared: it is the adapter's, whatever the adapter notes.
    Raises UserError for a folder that is no adapter or whose base model is not the one it was made from.
    """
    with only_writer(Path(out)):
        return _merge(adapter, Path(out), base, declared)


def _merge(adapter: Path | str, out: Path, base: str | None, declared: bool) -> Path:
    read, base, revision = _open(adapter, base)
    record = {**read.record, "kind": "full"} if read.record else {}
    _check_output(out, read, base, record)
    check_base(read, base, revision, declared)
    processor = load_processor(base, revision, False, str(read.path) if _has_processor(read.path) else None)
    model = open_model(base, f"the base model '{base}' of '{adapter}'", revision=revision or "main", dtype="auto")
    merged = attach(model, read, base, revision, declared).merge_and_unload()
    require_finite_model(merged, f"{read.path} merged")
    with _written(out) as folder:
        merged.save_pretrained(folder)
        processor.save_pretrained(folder)
        if record:
            card.write(folder, record, name=out.name)
    return out


def link(adapter: Path | str, out: Path | str, base: str | None = None, declared: bool = False) -> Path:
    """Write links to the base model's weights, and copies of its configuration and of the adapter; returns `out`.

    The base model has to stay where it is. base, declared: as in `merge`. Raises UserError as `merge` does, and for
    adapters that Transformers does not apply by itself or that mllmu did not write.
    """
    with only_writer(Path(out)):
        return _link(adapter, Path(out), base, declared)


def _link(adapter: Path | str, out: Path, base: str | None, declared: bool) -> Path:
    read, base, revision = _open(adapter, base)
    if not read.record:
        raise UserError(f"'{adapter}' has no {RECORD} of ours, so links to it would apply it unnamed; use --merge.")
    _check_output(out, read, base, read.record)
    if read.kind not in LINKABLE:
        raise UserError(f"Transformers does not open adapters of kind {read.kind} by itself; use --merge.")
    check_base(read, base, revision, declared)
    require_model_files(base, revision, linked=False)
    with _written(out) as folder:
        for file in sorted(local_folder(base, revision=revision).iterdir()):
            if file.suffix == ".safetensors":
                (folder / file.name).symlink_to(file.resolve())
            elif any(file.match(pattern) for pattern in MODEL_FILES):
                shutil.copyfile(file, folder / file.name)
        for file in filter(Path.is_file, sorted(read.path.iterdir())):
            if file.suffix not in PICKLES:
                shutil.copyfile(file, folder / file.name)
    return out


def _open(adapter: Path | str, base: str | None) -> tuple[AdapterFolder, str, str | None]:
    """(adapter, base model, its revision)."""
    read = read_adapter(adapter)
    if read.record and read.kind != "prompt":
        require_record(read.record, read.path / RECORD)
    if read.kind == "prompt":
        raise UserError(
            f"'{adapter}' is a system prompt: there are no weights to merge or link; in lmms-eval pass it to "
            f"--model mllmu_hf as peft={adapter}."
        )
    if base:
        return read, base, None
    if not read.fingerprint:
        raise UserError(f"'{adapter}' has no {RECORD} of ours that names its base model; name the model with --base.")
    return read, read.base_model, read.record["base_model"].get("revision")


def _has_processor(folder: Path) -> bool:
    return any((folder / name).is_file() for name in ("processor_config.json", "preprocessor_config.json"))


@contextmanager
def _written(out: Path) -> Iterator[Path]:
    """The folder to write, whole or absent; what cannot be written is said in one sentence."""
    try:
        with whole_folder(out) as folder:
            yield folder
    except (OSError, SafetensorError) as error:
        raise UserError(
            f"'{out}' cannot be written ({reason_of(error, 160)}); see that the disk has room, and try again."
        ) from error


def _check_output(out: Path, adapter: AdapterFolder, base: str, record: Mapping[str, Any]) -> None:
    check_output(out, {"the adapter": adapter.path, "its base model": base})
    if check_replacing(out, record, "remove it"):
        print(f"mllmu: the finished result in {out} will be replaced")
