"""Adapter folders: read them, attach them to a model, and verify that they are in force.

An adapter that does not load must never pass for a result: every tensor of its file has to be found in the
model with the same values, and the model underneath has to be the one it was made from.
"""

import functools
import hashlib
import json
import struct
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from mllmu_tasks.errors import UserError

KINDS = ("lora", "ia3", "shira", "full", "prompt")
RECORD = "unlearning.yaml"
CONFIG = "adapter_config.json"
WEIGHTS = "adapter_model.safetensors"
SAMPLE_BYTES = 64


@dataclass(frozen=True)
class AdapterFolder:
    """What a folder says of itself.

    record: the content of unlearning.yaml, {} for an adapter made elsewhere. base: the model it was made from,
    by name. fingerprint: of that model's weights, "" if not recorded. content_hash: of the adapter's files.
    """

    path: Path
    kind: str
    base: str
    fingerprint: str
    content_hash: str
    record: Mapping[str, Any] = field(default_factory=dict)

    @property
    def system_prompt(self) -> str:
        return str(self.record.get("system_prompt") or "")


def read_adapter(path: str | Path) -> AdapterFolder:
    """Read a local adapter folder without loading weights. Raises UserError if it is none."""
    folder = Path(path)
    if not folder.is_dir():
        raise UserError(f"peft='{path}' is no folder here; give the output_dir of `mllmu unlearn`.")
    record = _record(folder)
    kind = record.get("kind")
    if kind == "full" or (kind is None and not (folder / CONFIG).is_file() and (folder / "config.json").is_file()):
        raise UserError(f"'{path}' is a full model, not an adapter; pass it as pretrained={path}.")
    base = record.get("base_model") or {}
    if kind == "prompt":
        if not record.get("system_prompt"):
            raise UserError(f"'{path}/{RECORD}' is of kind prompt but holds no system_prompt.")
        files = [folder / RECORD]
        config = {}
    else:
        files = [folder / CONFIG, folder / WEIGHTS]
        missing = [file.name for file in files if not file.is_file()]
        if missing:
            raise UserError(f"adapter '{path}' lacks {' and '.join(missing)} (safetensors only).")
        config = json.loads((folder / CONFIG).read_text(encoding="utf-8"))
        kind = str(config.get("peft_type", "")).lower()
        if kind not in KINDS:
            raise UserError(f"adapter '{path}' is of PEFT type '{kind}'; known: lora, ia3, shira.")
    digest = hashlib.sha256()
    for file in files:
        digest.update(file.name.encode() + hashlib.sha256(file.read_bytes()).digest())
    return AdapterFolder(
        path=folder,
        kind=kind,
        base=str(base.get("name_or_path") or config.get("base_model_name_or_path") or ""),
        fingerprint=str(base.get("fingerprint") or ""),
        content_hash=digest.hexdigest(),
        record=record,
    )


def _record(folder: Path) -> dict:
    file = folder / RECORD
    if not file.is_file():
        return {}
    try:
        record = yaml.safe_load(file.read_text(encoding="utf-8"))
    except yaml.YAMLError as error:
        raise UserError(f"'{file}' is no YAML ({str(error).splitlines()[0]}).") from error
    if not isinstance(record, dict):
        raise UserError(f"'{file}' holds no mapping.")
    return record


def check_base(adapter: AdapterFolder, pretrained: str, revision: str | None = None) -> None:
    """Raises UserError unless the adapter was made from this model.

    By the fingerprint of the weights if it is recorded, else by the last part of the model's name.
    """
    if adapter.fingerprint:
        if weights_fingerprint(pretrained, revision) != adapter.fingerprint:
            raise UserError(
                f"adapter '{adapter.path}' was made from '{adapter.base}', and the weights of '{pretrained}' are "
                "others; pass that model as pretrained=."
            )
    elif adapter.base and _last_part(adapter.base) != _last_part(pretrained):
        raise UserError(
            f"adapter '{adapter.path}' names the base model '{adapter.base}', not '{pretrained}'; pass that model "
            "as pretrained=."
        )


def _last_part(name: str) -> str:
    return name.rstrip("/").rsplit("/", 1)[-1].lower()


def attach(model: Any, adapter: AdapterFolder, pretrained: str, revision: str | None = None) -> Any:
    """The model with the adapter active, in eval mode; the model itself for kind `prompt`.

    Raises UserError for another base model, a tensor that found no place, or a value that did not arrive.
    """
    check_base(adapter, pretrained, revision)
    if adapter.kind == "prompt":
        return model
    from peft import PeftModel, get_peft_model_state_dict
    from safetensors.torch import load_file

    try:
        wrapped = PeftModel.from_pretrained(model, str(adapter.path), is_trainable=False)
        stored = load_file(adapter.path / WEIGHTS)
    except (RuntimeError, ValueError, KeyError, OSError) as error:
        reason = " ".join(str(error).split())[:300]
        raise UserError(f"adapter '{adapter.path}' does not fit '{pretrained}': {reason}") from error
    loaded = get_peft_model_state_dict(wrapped)
    lost = sorted(set(stored) ^ set(loaded))
    if lost:
        raise UserError(
            f"adapter '{adapter.path}' did not load into '{pretrained}': {len(lost)} tensors have no partner, "
            f"such as {lost[0]}."
        )
    for name, value in stored.items():
        if not bool((loaded[name].cpu() == value.to(loaded[name].dtype)).all()):
            raise UserError(f"adapter '{adapter.path}' did not load: the values of {name} differ from the file.")
    return wrapped.eval()


@functools.lru_cache(maxsize=32)
def weights_fingerprint(name_or_path: str, revision: str | None = None) -> str:
    """A cheap identity of a model's weights, independent of dtype conversions and of sharding.

    sha256 over every tensor's name, type, shape, and its first and last 64 bytes as stored; the files are
    not read whole. A hub id is resolved to its snapshot, which is downloaded if it is not there.
    Raises UserError if there are no safetensors.
    """
    folder = model_folder(name_or_path, revision)
    files = sorted(folder.glob("*.safetensors"))
    if not files:
        raise UserError(f"model '{name_or_path}' has no *.safetensors; convert it, other formats are not opened.")
    parts: dict[str, bytes] = {}
    for file in files:
        with file.open("rb") as content:
            size = struct.unpack("<Q", content.read(8))[0]
            try:
                header = json.loads(content.read(size))
            except ValueError as error:
                raise UserError(f"'{file}' is no safetensors file; fetch it again.") from error
            for name, tensor in header.items():
                if name == "__metadata__":
                    continue
                start, end = tensor["data_offsets"]
                content.seek(8 + size + start)
                head = content.read(min(SAMPLE_BYTES, end - start))
                content.seek(8 + size + max(start, end - SAMPLE_BYTES))
                tail = content.read(min(SAMPLE_BYTES, end - start))
                parts[name] = f"{name} {tensor['dtype']} {tensor['shape']}\n".encode() + head + tail
    return hashlib.sha256(b"".join(parts[name] for name in sorted(parts))).hexdigest()[:32]


def model_folder(name_or_path: str, revision: str | None = None) -> Path:
    """The local folder of a model. Raises UserError if it is neither a folder nor to be had from the hub."""
    if Path(name_or_path).is_dir():
        return Path(name_or_path)
    import httpx
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, OfflineModeIsEnabled

    try:
        patterns = ["*.safetensors", "*.json", "*.jinja", "*.model", "*.txt"]
        return Path(snapshot_download(name_or_path, revision=revision, allow_patterns=patterns))
    except (HfHubHTTPError, OfflineModeIsEnabled, httpx.HTTPError, OSError, ValueError) as error:
        reason = " ".join(str(error).split())[:160]
        raise UserError(
            f"model '{name_or_path}' is no folder here and cannot be had from the hub ({reason})."
        ) from error
