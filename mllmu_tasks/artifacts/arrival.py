"""Whether an adapter's tensors are where PEFT puts them: PEFT itself only warns of those that it cannot place."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import Tensor

from mllmu_tasks.errors import UserError, reason_of

NAME = "default"
"""What PEFT calls the only adapter of a model; parts of it bear this name in the model's own state."""


def require_arrival(wrapped: Any, stored: Mapping[str, Tensor], adapter: Path, pretrained: str) -> None:
    """Raise UserError unless every tensor of the file is in the PeftModel with its value, and nothing else is.

    stored: the content of the adapter's file. The names in the file are those of the Transformers that wrote it, and
    the model's modules may have other ones by now: then it is compared what PEFT makes of the file.
    """
    loaded = _loaded(wrapped, stored)
    homeless, absent = sorted(set(stored) - set(loaded)), sorted(set(loaded) - set(stored))
    if not homeless and not absent:
        _require_values(stored, loaded, adapter)
    else:
        _require_as_converted(wrapped, stored, adapter, pretrained)


def _loaded(wrapped: Any, stored: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The adapter's tensors in the model, by the names that PEFT would write now."""
    from peft import get_peft_model_state_dict

    # save_embedding_layers=False: "auto" would ask the hub about the base model's configuration
    loaded = get_peft_model_state_dict(wrapped, save_embedding_layers=False)
    whole = wrapped.state_dict()
    return loaded | {name: whole[name] for name in set(stored) - set(loaded) if name in whole}  # retrained embeddings


def _require_as_converted(wrapped: Any, stored: Mapping[str, Tensor], adapter: Path, pretrained: str) -> None:
    """PEFT loads the file once more; what it hands to the model by its own names has to be there already."""
    from peft import set_peft_model_state_dict

    before = {name: tensor.clone() for name, tensor in wrapped.state_dict().items() if NAME in name.split(".")}
    handed: dict[str, Tensor] = {}
    watch = wrapped.register_load_state_dict_pre_hook(lambda module, state, *rest: handed.update(state))
    try:
        result = set_peft_model_state_dict(wrapped, dict(stored))
    except Exception as error:
        raise UserError(f"adapter '{adapter}' does not fit '{pretrained}': {reason_of(error)}") from error
    finally:
        watch.remove()
    homeless = sorted(result.unexpected_keys)
    absent = sorted(name for name in result.missing_keys if NAME in name.split("."))
    if homeless or absent:
        what = f"{homeless[0]} has no place in the model" if homeless else f"{absent[0]} is not in its file"
        raise UserError(
            f"adapter '{adapter}' did not load into '{pretrained}': {len(homeless) + len(absent)} tensors have "
            f"no partner ({what}); it was made for another model or PEFT version, or its file is damaged."
        )
    # PEFT may rename, join and turn tensors. What it drops shows here: two names in the file, one place in the model.
    if _entries(stored) != _entries(handed):
        raise UserError(
            f"adapter '{adapter}' did not load into '{pretrained}': its file holds some tensors under two names; save "
            "it again with PEFT."
        )
    _require_values(handed, before | {name: wrapped.state_dict()[name] for name in set(handed) - set(before)}, adapter)


def _entries(state: Mapping[str, Tensor]) -> int:
    return sum(int(tensor.count_nonzero()) for tensor in state.values())


def _require_values(wanted: Mapping[str, Tensor], there: Mapping[str, Tensor], adapter: Path) -> None:
    for name, value in wanted.items():
        found, value = there[name].cpu(), value.cpu()
        if found.shape != value.shape or not bool((found == value.to(found.dtype)).all()):
            raise UserError(f"adapter '{adapter}' did not load: the values of {name} differ from its file.")
