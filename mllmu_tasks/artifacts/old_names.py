"""Adapters that older versions of Transformers saved: what their modules are called by now.

Transformers 4.52 moved a model's parts under `model.`, version 5 took a level out of its vision towers. PEFT renames
most of what was saved before, but leaves out projectors, and everything of Qwen2-VL and Qwen2.5-VL, with a warning.
"""

import re
from collections.abc import Iterator, Mapping
from typing import Any

PREFIX = "base_model.model."
_OF_ADAPTER = re.compile(r"\.(?:lora_|ia3_|shira_)")
_RENAMED = (
    (re.compile(r"^language_model\.model\."), "model.language_model."),
    (re.compile(r"^model\.(?=layers\.|embed_tokens\b)"), "model.language_model."),  # the Qwens
    (re.compile(r"^(?=vision_tower\.|vision_model\.|multi_modal_projector\b|visual\.)"), "model."),
    (re.compile(r"^(?:model\.)?vision_tower\.vision_model\."), "model.vision_tower."),
    (re.compile(r"^language_model\.(?=lm_head\b)"), ""),
)


def as_named_now(stored: Mapping[str, Any], model: Any) -> dict[str, Any]:
    """An adapter's tensors, those of modules that the model has under a newer name by that name.

    model: the torch.nn.Module without adapter. A name that leads nowhere, or where another tensor is, stays.
    """
    modules = {name for name, _ in model.named_modules()}
    now: dict[str, Any] = {}
    for name, tensor in stored.items():
        known = _module(name) in modules
        new = name if known else next((new for new in _candidates(name) if _module(new) in modules), name)
        now[name if new in stored or new in now else new] = tensor
    return now


def _candidates(name: str) -> Iterator[str]:
    path = name.removeprefix(PREFIX)
    for old, new in _RENAMED:
        if old.search(path):
            yield PREFIX + old.sub(new, path)


def _module(name: str) -> str:
    return _OF_ADAPTER.split(name.removeprefix(PREFIX))[0]
