"""`mllmu_peft`: an adapter on a backend of lmms-eval that knows of none.

    --model mllmu_peft --model_args backend=qwen2_5_vl,pretrained=Qwen/Qwen2.5-VL-7B-Instruct,peft=adapters/npo

What comes out is the backend itself, whose model has the adapter's layers in it. It answers as it always does,
with its own prompts and its own failures: `mllmu results` marks questions that it left unanswered.
"""

from typing import Any

import torch
from lmms_eval.api.model import lmms
from lmms_eval.utils import simple_parse_args_string
from torch import nn

from mllmu_tasks import streams
from mllmu_tasks.artifacts.adapter_folder import AdapterFolder, attach, check_base, read_adapter, weights_fingerprint
from mllmu_tasks.artifacts.made_from import require_this
from mllmu_tasks.artifacts.weight_files import require_finite_model
from mllmu_tasks.benchmarks.registry import model_path
from mllmu_tasks.errors import UserError, did_you_mean, ends_the_run, typed_reason_of
from mllmu_tasks.harness import answerer
from mllmu_tasks.harness.response_cache import identify
from mllmu_tasks.models.loading import require_model_files
from mllmu_tasks.plugin import MODELS
from mllmu_tasks.user_folders import require_home

NAME = "mllmu_peft"
PROBE_TOKENS = 16


class MllmuPeft(lmms):
    """backend: a model name of lmms-eval; pretrained, peft, base: as in mllmu_hf; all else goes to the backend."""

    is_simple = False

    @classmethod
    @ends_the_run
    def create_from_arg_string(cls, arg_string: str, additional_config: dict | None = None) -> lmms:
        """The backend with the adapter in it. What the user can mend ends the run with one line, exit code 2."""
        streams.ready()
        require_home()
        arguments = simple_parse_args_string(arg_string)
        backend, peft, pretrained = (str(arguments.get(k) or "") for k in ("backend", "peft", "pretrained"))
        for name, value in (("backend", backend), ("peft", peft), ("pretrained", pretrained)):
            if not value:
                raise UserError(f"{NAME} needs {name}= in --model_args, as in backend=qwen2_5_vl.")
        pretrained = arguments["pretrained"] = model_path(pretrained)
        declared = require_this(arguments.get("base"), peft)
        given = {k: v for k, v in arguments.items() if k not in ("backend", "peft", "base")}
        given |= {k: v for k, v in (additional_config or {}).items() if v is not None}
        revision = None if arguments.get("revision") is None else str(arguments["revision"])
        adapter = _adapter(peft, pretrained, revision, declared)
        made = _backend(backend, given)
        model = _attach(made, adapter, pretrained, revision, declared, backend)
        weights = weights_fingerprint(pretrained, revision)
        identify(NAME, weights, adapter.content_hash, backend)
        known = answerer.Answerer(
            model=NAME,
            pretrained=pretrained,
            weights=weights,
            adapter=adapter.content_hash,
            architecture=answerer.architecture_of(model),
            dtype=str(next(model.parameters()).dtype),
            base_by="declared" if declared else "",
            **answerer.origin(adapter, {}),
        )
        answerer.note(known)
        for name in ("generate_until", "loglikelihood", "generate_until_multi_round"):
            setattr(made, name, ends_the_run(getattr(made, name)))  # what the backend raises, too
        return made

    def generate_until(self, requests: Any) -> list[str]:
        raise NotImplementedError("made by create_from_arg_string, which returns the backend")

    loglikelihood = generate_until_multi_round = generate_until


def _adapter(peft: str, pretrained: str, revision: str | None, declared: bool) -> AdapterFolder:
    """Checked before the backend takes its minutes to load."""
    adapter = read_adapter(peft)
    if adapter.kind == "prompt":
        raise UserError(
            f"'{peft}' is a system prompt, and backends differ in how they take one; use --model mllmu_hf, or the "
            "backend's own argument (often system_prompt=)."
        )
    check_base(adapter, pretrained, revision, declared)
    require_model_files(pretrained, revision, linked=False)
    return adapter


def _backend(name: str, arguments: dict[str, Any]) -> lmms:
    from lmms_eval.models import MODEL_REGISTRY_V2, get_model

    if name in MODELS:
        raise UserError(f"backend={name} is ours; use --model mllmu_hf with peft=.")
    if name not in MODEL_REGISTRY_V2.list_model_names():
        raise UserError(f"lmms-eval has no model '{name}'.{did_you_mean(name, MODEL_REGISTRY_V2.list_model_names())}")
    try:
        return get_model(name)(**arguments)
    except Exception as error:  # whatever a backend raises, lmms-eval would end with exit code 0
        raise UserError(f"backend={name} does not start: {typed_reason_of(error)}") from error


def _attach(
    backend: lmms, adapter: AdapterFolder, pretrained: str, revision: str | None, declared: bool, name: str
) -> nn.Module:
    """PEFT puts its layers inside the backend's model, which stays the object that the backend holds; returns it."""
    model = vars(backend).get("_model")
    if not isinstance(model, nn.Module):
        raise UserError(
            f"backend={name} holds no PyTorch model that an adapter could be put into; make a merged checkpoint "
            f"with `mllmu export {adapter.path} --merge --out OUT` and pass it as pretrained=OUT."
        )
    model = model.module if isinstance(model, nn.parallel.DistributedDataParallel) else model
    if next(model.parameters()).is_meta:
        raise UserError(f"backend={name} keeps weights off the device; give it enough memory, or merge the adapter.")
    require_finite_model(model, pretrained)
    _require_effect(attach(model, adapter, pretrained, revision, declared), adapter, pretrained)
    return model


@torch.inference_mode()
def _require_effect(wrapped: Any, adapter: AdapterFolder, pretrained: str) -> None:
    """Raises UserError if the logits of a few tokens are the same with the adapter and without."""
    embeddings = wrapped.get_input_embeddings()
    ids = torch.arange(10, 10 + PROBE_TOKENS, device=embeddings.weight.device)[None] % embeddings.weight.shape[0]
    inputs = {"input_ids": ids, "attention_mask": torch.ones_like(ids)}
    active = wrapped(**inputs).logits
    with wrapped.disable_adapter():
        plain = wrapped(**inputs).logits
    if torch.equal(active, plain):
        raise UserError(
            f"adapter '{adapter.path}' leaves the answers of '{pretrained}' to a text as they are; it is neutral, or "
            "only touches the image side, which cannot be verified on this backend: use --model mllmu_hf."
        )
