"""Adapter folders: read them, attach them to a model, and verify that they are in force.

An adapter that does not load must never pass for a result: every tensor of its file has to be found in the
model with the same values, and the model underneath has to be the one it was made from.
"""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from loguru import logger

from mllmu_tasks import strict_json, strict_yaml
from mllmu_tasks.errors import UserError, quoted
from mllmu_tasks.models.fingerprint import ADAPTER_FILES, local_folder, weights_fingerprint
from mllmu_tasks.user_files import read_text

__all__ = ["KINDS", "AdapterFolder", "attach", "check_base", "read_adapter", "read_record", "weights_fingerprint"]

KINDS = ("lora", "ia3", "shira", "full", "prompt")
RECORD = "unlearning.yaml"
CONFIG = "adapter_config.json"
WEIGHTS = "adapter_model.safetensors"


@dataclass(frozen=True)
class AdapterFolder:
    """What a folder says of itself.

    base_model: the model it was made from, by name. record: the content of unlearning.yaml, {} for an adapter
    made elsewhere. content_hash: of the files that decide answers; another one after training again.
    """

    path: Path
    kind: str
    base_model: str
    content_hash: str
    record: Mapping[str, Any] = field(default_factory=dict)

    @property
    def fingerprint(self) -> str:
        """Of the base model's weights; "" if not recorded."""
        return str((self.record.get("base_model") or {}).get("fingerprint") or "")

    @property
    def system_prompt(self) -> str:
        """Of a folder of kind `prompt`; "" for the others."""
        return str(self.record["system_prompt"]) if self.kind == "prompt" else ""


def read_adapter(path: str | Path) -> AdapterFolder:
    """Read an adapter (a folder or a hub id) without loading weights. Raises UserError if it is none."""
    folder = local_folder(str(path), ADAPTER_FILES)
    record = read_record(folder)
    kind = record.get("kind")
    if kind is not None and kind not in KINDS:
        raise UserError(f"'{folder / RECORD}' is of kind {quoted(kind)}; known: {', '.join(KINDS)}.")
    if kind == "full" or (kind is None and not (folder / CONFIG).is_file() and (folder / "config.json").is_file()):
        raise UserError(f"'{path}' is a full model, not an adapter; pass it as pretrained={path}.")
    if kind == "prompt":
        if not record.get("system_prompt"):
            raise UserError(f"'{folder / RECORD}' is of kind prompt but holds no system_prompt.")
        config, files = {}, [folder / RECORD]
    else:
        files = [folder / CONFIG, folder / WEIGHTS]
        missing = [file.name for file in files if not file.is_file()]
        if missing:
            raise UserError(f"adapter '{path}' lacks {' and '.join(missing)}; only safetensors are opened.")
        config = _peft_config(folder)
        kind = _same_kind(kind, str(config.get("peft_type", "")).lower(), folder)
    base = (record.get("base_model") or {}).get("name_or_path") or config.get("base_model_name_or_path")
    return AdapterFolder(folder, kind, str(base or ""), _hash(files), record)


def _hash(files: list[Path]) -> str:
    digest = hashlib.sha256()
    for file in files:
        with file.open("rb") as content:
            digest.update(file.name.encode() + hashlib.file_digest(content, "sha256").digest())
    return digest.hexdigest()


def read_record(folder: Path) -> dict:
    """The content of unlearning.yaml, {} if there is none. Raises UserError if it is not ours."""
    file = folder / RECORD
    if not file.is_file():
        return {}
    record = strict_yaml.read(file, f"'{file}'")
    if not isinstance(record, dict) or not isinstance(record.get("base_model") or {}, dict):
        raise UserError(f"'{file}' is not what `mllmu unlearn` writes: it holds no mapping, or base_model is none.")
    return record


def _peft_config(folder: Path) -> dict:
    try:
        config = strict_json.loads(read_text(folder / CONFIG, f"'{folder / CONFIG}'"))
    except ValueError as error:
        raise UserError(f"'{folder / CONFIG}' is no JSON ({error}).") from error
    if not isinstance(config, dict):
        raise UserError(f"'{folder / CONFIG}' holds no mapping.")
    return config


def _same_kind(recorded: str | None, of_peft: str, folder: Path) -> str:
    if of_peft not in ("lora", "ia3", "shira"):
        raise UserError(f"adapter '{folder}' is of PEFT type {quoted(of_peft)}; known: lora, ia3, shira.")
    if recorded not in (None, of_peft):
        raise UserError(f"'{folder}': {RECORD} says kind {recorded}, {CONFIG} says {of_peft}.")
    return of_peft


def check_base(adapter: AdapterFolder, pretrained: str, revision: str | None = None) -> None:
    """Raises UserError unless the adapter was made from this model.

    By the fingerprint of the weights if it is recorded, else by the last part of the model's name.
    """
    if adapter.fingerprint:
        actual = weights_fingerprint(pretrained, revision)
        if actual != adapter.fingerprint:
            raise UserError(
                f"adapter '{adapter.path}' was made from '{adapter.base_model}' (weights {adapter.fingerprint[:8]}), "
                f"and '{pretrained}' has other weights ({actual[:8]}); pass the model it was made from as pretrained=."
            )
    elif adapter.base_model and _last_part(adapter.base_model) != _last_part(pretrained):
        raise UserError(
            f"adapter '{adapter.path}' names the base model '{adapter.base_model}', not '{pretrained}'; pass the "
            "model it was made from as pretrained=."
        )
    else:
        logger.warning(f"adapter '{adapter.path}' records no weights of its base; only the model's name was compared.")


def _last_part(name: str) -> str:
    return name.rstrip("/").rsplit("/", 1)[-1].lower()


def attach(model: Any, adapter: AdapterFolder, pretrained: str, revision: str | None = None) -> Any:
    """The PeftModel with the adapter active, in eval mode; the model itself for kind `prompt`.

    Raises UserError for another base model, a tensor that found no place, or a value that did not arrive.
    """
    check_base(adapter, pretrained, revision)
    if adapter.kind == "prompt":
        return model
    from peft import PeftModel
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        stored = load_file(adapter.path / WEIGHTS)
        wrapped = PeftModel.from_pretrained(model, str(adapter.path), is_trainable=False, use_safetensors=True)
    except (RuntimeError, ValueError, KeyError, TypeError, OSError, SafetensorError) as error:
        reason = " ".join(str(error).split())[:300]
        raise UserError(f"adapter '{adapter.path}' does not fit '{pretrained}': {reason}") from error
    _verify(wrapped, stored, adapter, pretrained)
    if changes_nothing(adapter.kind, stored):
        logger.warning(f"adapter '{adapter.path}' changes nothing: all its {adapter.kind} weights are neutral.")
    return wrapped.eval()


def changes_nothing(kind: str, stored: Mapping[str, Any]) -> bool:
    """True if every tensor is such that the model stays the same (LoRA: one factor 0; IA3: 1; SHiRA: 0)."""
    neutral = {"lora": ("lora_B", 0), "ia3": ("ia3_l", 1), "shira": ("shira_weight", 0)}
    part, value = neutral[kind]
    others = [name for name in stored if not any(word in name for word in ("lora_", "ia3_", "shira_"))]
    return not others and all(bool((tensor == value).all()) for name, tensor in stored.items() if part in name)


def _verify(wrapped: Any, stored: Mapping[str, Any], adapter: AdapterFolder, pretrained: str) -> None:
    """PEFT only warns of tensors that it cannot place, and leaves those that the file lacks at their start."""
    from peft import get_peft_model_state_dict

    # save_embedding_layers=False: "auto" would ask the hub about the base model's configuration
    loaded = get_peft_model_state_dict(wrapped, save_embedding_layers=False)
    whole = wrapped.state_dict()
    loaded |= {name: whole[name] for name in set(stored) - set(loaded) if name in whole}  # retrained embeddings
    homeless, absent = sorted(set(stored) - set(loaded)), sorted(set(loaded) - set(stored))
    if homeless or absent:
        what = f"{homeless[0]} has no place in the model" if homeless else f"{absent[0]} is not in {WEIGHTS}"
        raise UserError(
            f"adapter '{adapter.path}' did not load into '{pretrained}': {len(homeless) + len(absent)} tensors have "
            f"no partner ({what}); it was made for another model or PEFT version, or its file is damaged."
        )
    for name, value in stored.items():
        there = loaded[name].cpu()
        if there.shape != value.shape or not bool((there == value.to(there.dtype)).all()):
            raise UserError(f"adapter '{adapter.path}' did not load: the values of {name} differ from its file.")
