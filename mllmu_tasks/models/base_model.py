"""A loaded base model and what does not depend on the adapter, which several runs of one process may share."""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Any

from mllmu_tasks.artifacts.adapter_folder import WEIGHTS, AdapterFolder
from mllmu_tasks.artifacts.identity import weights_fingerprint
from mllmu_tasks.errors import UserError
from mllmu_tasks.models.engine.generation import take_sampling_defaults
from mllmu_tasks.models.engine.preparing import Learnt
from mllmu_tasks.models.engine.vision import ShownCache
from mllmu_tasks.models.loading import load_model, load_processor

_SHARED: ContextVar[dict[tuple, "Base"] | None] = ContextVar("shared base models", default=None)


@dataclass
class Base:
    """model: without adapter, in eval mode. weights: fingerprint of its files. learnt: what was found out about its
    processor. features: image features, by the content of the adapter that changes them ("": none does).
    readings: prompts, by the requests and the style that they were made from; another run may ask the same again.
    """

    model: Any
    processor: Any
    weights: str
    sampling_defaults: dict[str, Any]
    learnt: Learnt = field(default_factory=Learnt)
    features: dict[str, ShownCache] = field(default_factory=dict)
    readings: dict[Any, list] = field(default_factory=dict)

    def features_for(self, adapter: AdapterFolder | None, limit: int) -> ShownCache:
        """limit: bytes, of a cache that is made now."""
        changes = adapter is not None and touches_vision(self.model, adapter)
        return self.features.setdefault(adapter.content_hash if changes else "", ShownCache(limit))

    def take_out(self, wrapped: Any, adapter: AdapterFolder) -> None:
        """Remove an attached adapter, and the image features that it changed.

        Raises UserError if the model is not what it was then.
        """
        self.features.pop(adapter.content_hash, ShownCache(0)).kept.clear()  # the model still knows the last one
        if wrapped is self.model:
            return
        rest = wrapped.unload()
        if hasattr(rest, "peft_config"):
            del rest.peft_config  # or the next one would count as a second adapter
        left = [
            name for name, _ in rest.named_parameters() if any(part in name for part in ("lora_", "ia3_", "shira_"))
        ]
        if rest is not self.model or left or _names(rest) != self._names:
            raise UserError(f"adapter '{adapter.path}' does not come out of the model again; evaluate it alone.")

    def __post_init__(self) -> None:
        self._names = _names(self.model)


def _names(model: Any) -> dict[str, int]:
    """Where every parameter lies."""
    return {name: parameter.data_ptr() for name, parameter in model.named_parameters()}


def touches_vision(model: Any, adapter: AdapterFolder) -> bool:
    """Whether an adapter changes image features: a tensor of it lies outside the text model and the output layer."""
    if adapter.kind == "prompt":
        return False
    from safetensors import safe_open

    decoder = model.get_decoder()
    text = next(name for name, module in model.named_modules() if module is decoder)
    with safe_open(adapter.path / WEIGHTS, framework="pt") as file:
        names = [name.removeprefix("base_model.model.") for name in file.keys()]  # noqa: SIM118
    return not all(name.startswith((f"{text}.", "lm_head.")) for name in names)


@contextmanager
def shared_bases() -> Iterator[None]:
    """Within it, models with the same arguments are loaded once."""
    token = _SHARED.set({})
    try:
        yield
    finally:
        _SHARED.reset(token)


def open_base(
    pretrained: str, processor: str | None, revision: str | None, trust_remote_code: bool, **how: Any
) -> Base:
    """Load a base model, or find the one of an earlier run. how: see `load_model`. Raises UserError."""
    shared = _SHARED.get()
    key = (pretrained, processor, revision, trust_remote_code, repr(sorted(how.items())))
    if shared is not None and key in shared:
        return shared[key]
    opened = load_processor(pretrained, revision, trust_remote_code, processor)
    model = load_model(pretrained, revision=revision, trust_remote_code=trust_remote_code, **how)
    base = Base(model, opened, weights_fingerprint(pretrained, revision), take_sampling_defaults(model))
    if shared is not None:
        shared[key] = base
    return base
