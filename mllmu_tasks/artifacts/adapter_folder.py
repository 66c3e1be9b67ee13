"""Adapter folders: read them, attach them to a model, and verify that they are in force.

An adapter that does not load must never pass for a result: every tensor of its file has to be found in the
model with the same values, and the model underneath has to be the one it was made from.
"""

import math
import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from mllmu_tasks import strict_json
from mllmu_tasks.artifacts.identity import ADAPTER_FILES, files_hash, local_folder, weights_fingerprint
from mllmu_tasks.artifacts.made_from import check_base
from mllmu_tasks.artifacts.old_names import as_named_now
from mllmu_tasks.artifacts.record import RECORD, read_record
from mllmu_tasks.artifacts.weight_files import PICKLES, is_finite, require_safetensors, tensors
from mllmu_tasks.errors import UserError, quoted, reason_of
from mllmu_tasks.user_files import read_text

__all__ = ["KINDS", "AdapterFolder", "attach", "check_base", "read_adapter", "weights_fingerprint"]

KINDS = ("lora", "ia3", "shira", "full", "prompt")
CONFIG = "adapter_config.json"
WEIGHTS = "adapter_model.safetensors"
_LORA_A = re.compile(r"\.(lora_(?:embedding_)?)A(\.weight)?$")
_LORA_B = re.compile(r"\.(lora_(?:embedding_)?)B(\.weight)?$")


@dataclass(frozen=True)
class AdapterFolder:
    """What a folder says of itself.

    base_model: the model it was made from, by name; revision: of that model, if one is named. record: the content of
    unlearning.yaml, {} for an adapter made elsewhere. content_hash: of the files that decide answers; another one
    after training again.
    """

    path: Path
    kind: str
    base_model: str
    content_hash: str
    record: Mapping[str, Any] = field(default_factory=dict)
    revision: str | None = None

    @property
    def fingerprint(self) -> str:
        """Of the base model's weights; "" if not recorded."""
        return str((self.record.get("base_model") or {}).get("fingerprint") or "")

    @property
    def system_prompt(self) -> str:
        """Of a folder of kind `prompt`; "" for the others."""
        return str(self.record["system_prompt"]) if self.kind == "prompt" else ""


def read_adapter(path: str | Path) -> AdapterFolder:
    """Read an adapter (a folder or a hub id), tensor by tensor, without opening its base model.

    Raises UserError if it is none, or if its weights could not be one: pickles, a damaged file, NaN or infinity, or
    weights that change nothing, whose scores would be those of the base model.
    """
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
        _require_files(folder, path)
        config = _peft_config(folder)
        kind = _same_kind(kind, str(config.get("peft_type", "")).lower(), folder)
        _require_effect(folder, kind, config)
    noted = record.get("base_model") or {}
    base = noted.get("name_or_path") or config.get("base_model_name_or_path")
    revision = noted.get("revision") or config.get("revision")
    return AdapterFolder(folder, kind, str(base or ""), files_hash(files), record, revision and str(revision))


def _require_files(folder: Path, path: str | Path) -> None:
    missing = [name for name in (CONFIG, WEIGHTS) if not (folder / name).exists() and not (folder / name).is_symlink()]
    if missing:
        pickle = next((file.name for file in sorted(folder.iterdir()) if file.suffix in PICKLES), "")
        there = f"; {pickle} is a pickle, which can run code, so save the adapter as safetensors" if pickle else ""
        raise UserError(f"adapter '{path}' lacks {' and '.join(missing)}{there or '; only safetensors are opened'}.")
    require_safetensors(folder / WEIGHTS)


def _require_effect(folder: Path, kind: str, config: Mapping[str, Any]) -> None:
    """Raise UserError for weights that are not finite, or that leave the model as it is."""
    moved = set()
    for name, tensor in tensors(folder / WEIGHTS):
        if not is_finite(tensor):
            raise _not_finite(folder, name)
        if bool((tensor != (1 if kind == "ia3" and "ia3_l" in name else 0)).any()):
            moved.add(name)
    why = "" if _works(kind, moved) else f"all its {kind} weights are neutral"
    if kind == "lora":
        pattern = config.get("alpha_pattern")
        alphas = [config.get("lora_alpha", 1), *(pattern.values() if isinstance(pattern, dict) else ())]
        if not all(math.isfinite(alpha) for alpha in alphas if isinstance(alpha, int | float)):
            raise _not_finite(folder, "lora_alpha")
        if not any(alphas) and all("lora_" in name for name in moved):
            why = "its lora_alpha is 0"
    if why:
        raise UserError(
            f"adapter '{folder}' changes nothing ({why}), and its scores would be those of its base model; train it "
            "again, or evaluate the base model alone."
        )


def _works(kind: str, moved: Collection[str]) -> bool:
    """Whether these tensors, those that are not at their neutral value, change the model.

    LoRA's A and B work in pairs; SHiRA's indices only say where its values go.
    """
    if kind == "shira":
        return any("shira_indices" not in name for name in moved)
    if kind == "ia3":
        return bool(moved)
    downs = {name for name in moved if _LORA_A.search(name)}
    ups = {_LORA_B.sub(r".\1A\2", name) for name in moved if _LORA_B.search(name)}
    return bool(downs & ups) or any(not _LORA_A.search(n) and not _LORA_B.search(n) for n in moved)


def _not_finite(folder: Path, what: str) -> UserError:
    return UserError(
        f"adapter '{folder}' holds NaN or infinity ({what}), and every answer with it would be empty or noise; train "
        "it again with a lower --learning_rate."
    )


def _peft_config(folder: Path) -> dict:
    file = folder / CONFIG
    try:
        config = strict_json.loads(read_text(file, f"'{file}'"))
    except ValueError as error:
        raise UserError(f"'{file}' is no JSON ({reason_of(error, 120)}).") from error
    if not isinstance(config, dict):
        raise UserError(f"'{file}' holds no mapping.")
    return config


def _same_kind(recorded: str | None, of_peft: str, folder: Path) -> str:
    if of_peft not in ("lora", "ia3", "shira"):
        raise UserError(f"adapter '{folder}' is of PEFT type {quoted(of_peft)}; known: lora, ia3, shira.")
    if recorded not in (None, of_peft):
        raise UserError(f"'{folder}': {RECORD} says kind {recorded}, {CONFIG} says {of_peft}.")
    return of_peft


def attach(
    model: Any, adapter: AdapterFolder, pretrained: str, revision: str | None = None, declared: bool = False
) -> Any:
    """The PeftModel with the adapter active, in eval mode; the model itself for kind `prompt`.

    declared: the caller says that this is the adapter's base model, whatever the adapter notes. Raises UserError for
    another base model, a tensor that found no place, or a value that did not arrive.
    """
    check_base(adapter, pretrained, revision, declared)
    if adapter.kind == "prompt":
        return model
    from peft import PeftModel, set_peft_model_state_dict
    from safetensors.torch import load_file

    from mllmu_tasks.artifacts.arrival import require_arrival

    try:
        found = load_file(adapter.path / WEIGHTS)
        stored = as_named_now(found, model)
        wrapped = PeftModel.from_pretrained(model, str(adapter.path), is_trainable=False, use_safetensors=True)
        if set(stored) != set(found):
            set_peft_model_state_dict(wrapped, dict(stored))
    except Exception as error:  # PEFT raises what it likes for a configuration that is none
        raise UserError(f"adapter '{adapter.path}' does not fit '{pretrained}': {reason_of(error)}") from error
    require_arrival(wrapped, stored, adapter.path, pretrained)
    return wrapped.eval()
