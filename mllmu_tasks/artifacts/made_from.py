"""Was this adapter made from this model? By the weights wherever both can be seen, by the model's name elsewhere."""

import re
from pathlib import Path
from typing import TYPE_CHECKING

from loguru import logger

from mllmu_tasks.artifacts.identity import MODEL_FILES, weights_fingerprint
from mllmu_tasks.errors import UserError, quoted

if TYPE_CHECKING:
    from mllmu_tasks.artifacts.adapter_folder import AdapterFolder

THIS = "this"
REMEDY = (
    "pass the model it was made from as pretrained=, or, if you know that it belongs to this one, say so with base=this"
)
_SNAPSHOT = re.compile(r"models--(?P<owner>[^/\\]+?)--(?P<name>[^/\\]+)[/\\]snapshots[/\\]")


def check_base(adapter: "AdapterFolder", pretrained: str, revision: str | None = None, declared: bool = False) -> None:
    """Raises UserError unless the adapter was made from this model.

    By the fingerprint of the weights that the adapter records; else, if the model that it names is on this machine
    (as a folder, or in the hub's cache), by that model's weights; else by the model's name, with a warning.
    declared: the caller says that it is this one, which is believed, with a warning.
    """
    if declared:
        logger.warning(f"adapter '{adapter.path}' is put into '{pretrained}' at your word (base=this), unchecked.")
        return
    made_from = adapter.fingerprint or fingerprint_here(adapter.base_model, adapter.revision)
    if made_from:
        actual = weights_fingerprint(pretrained, revision)
        if actual != made_from:
            raise UserError(
                f"adapter '{adapter.path}' was made from {quoted(adapter.base_model)} (weights {made_from[:8]}), "
                f"and '{pretrained}' has other weights ({actual[:8]}); {REMEDY}."
            )
    elif adapter.base_model and not _names(adapter.base_model) & _names(pretrained):
        raise UserError(
            f"adapter '{adapter.path}' names the base model {quoted(adapter.base_model)}, which is not on this "
            f"machine, and not '{pretrained}'; {REMEDY}."
        )
    else:
        logger.warning(f"adapter '{adapter.path}' records no weights of its base; only the model's name was compared.")


def require_this(base: str | None, peft: str | None) -> bool:
    """Whether the argument base= declares the model to be the adapter's. Raises UserError for any other word."""
    if base is None:
        return False
    if base != THIS:
        raise UserError(
            f"base={quoted(base)} is not known; base={THIS} says that the adapter belongs to the model in pretrained=."
        )
    if not peft:
        raise UserError(f"base={THIS} says whose adapter it is, and there is none; add peft=, or leave base= out.")
    return True


def fingerprint_here(name: str, revision: str | None = None) -> str:
    """Of a model's weights if they are on this machine, in a folder or the hub's cache; else "". Asks no hub."""
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HFValidationError, LocalEntryNotFoundError

    try:
        if name and Path(name).is_dir():
            return weights_fingerprint(name)
        found = snapshot_download(name, revision=revision, allow_patterns=list(MODEL_FILES), local_files_only=True)
        return weights_fingerprint(found)
    except (HFValidationError, LocalEntryNotFoundError, OSError, ValueError, UserError):
        return ""  # not here, or not whole: then names are compared, which is said


def _names(model: str) -> set[str]:
    """What a model may be called: the last part of its path (of any system) or id; for a snapshot in the hub's
    cache, the repository's name.
    """
    path = model.rstrip("/\\")
    found = {re.split(r"[/\\]", path)[-1].lower()}
    snapshot = _SNAPSHOT.search(path)
    return found | ({snapshot["name"].lower()} if snapshot else set())
