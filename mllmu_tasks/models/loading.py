"""Model and processor from a folder or the hub; what fails says so in one sentence."""

import json
import os
from pathlib import Path
from typing import Any

import torch

from mllmu_tasks.artifacts.adapter_folder import CONFIG, read_adapter
from mllmu_tasks.artifacts.identity import local_folder, refuse_missing
from mllmu_tasks.artifacts.record import RECORD
from mllmu_tasks.artifacts.weight_files import require_finite_model, require_whole_model
from mllmu_tasks.errors import UserError, typed_reason_of
from mllmu_tasks.models.chat_template import refuse_endless

DTYPES = ("auto", "float32", "bfloat16", "float16")


def load_processor(pretrained: str, revision: str | None, trust_remote_code: bool, other: str | None = None) -> Any:
    """The processor of `pretrained`, or that of `other` for checkpoints without one, as the official code saves them.

    Raises UserError if there is none, or if it does not take images and texts.
    """
    for name in (pretrained, other or pretrained):
        refuse_missing(name)
    refuse_adapter(pretrained)
    where, revision = (other, None) if other else (pretrained, revision)
    said = f"processor={other}" if other else f"pretrained={pretrained}"
    return open_processor(
        where,
        revision,
        trust_remote_code,
        said,
        "name the model or folder whose processor is to be used with processor=",
    )


def open_processor(name: str, revision: str | None, trust_remote_code: bool, said: str, remedy: str) -> Any:
    """For evaluation and training alike. said: how messages name it. Raises UserError if it takes no images and text,
    or cannot tell how many tokens an image becomes."""
    from transformers import AutoProcessor, ProcessorMixin

    try:
        processor = AutoProcessor.from_pretrained(name, revision=revision, trust_remote_code=trust_remote_code)
    except Exception as error:  # whatever fails here, lmms-eval would retry it and end with exit code 0
        raise UserError(
            f"no processor for {said}: {typed_reason_of(error)} If it holds weights alone, {remedy}."
        ) from error
    if not isinstance(processor, ProcessorMixin):
        raise UserError(f"{said} has a {type(processor).__name__}, not a processor of images and text; {remedy}.")
    if vars(processor).get("patch_size", 0) is None:
        raise UserError(
            f"the processor of {said} has no patch_size, so it cannot tell how many tokens an image becomes; copy "
            "patch_size, num_additional_image_tokens and vision_feature_select_strategy from the published model's "
            "processor_config.json into its own."
        )
    refuse_endless(processor, said)
    return processor


def manners(processor: Any, model: Any) -> list[str]:
    """What decides answers beside weights and prompts: images' preparation, vocabulary, defaults, dtype."""
    words = sorted(processor.tokenizer.get_vocab().items())
    return [processor.to_json_string(), json.dumps(words), model.generation_config.to_json_string(), str(model.dtype)]


def load_model(
    pretrained: str,
    *,
    revision: str | None = None,
    trust_remote_code: bool = False,
    dtype: str = "auto",
    device_map: Any = None,
    attn_implementation: str | None = None,
) -> torch.nn.Module:
    """In eval mode, where `device_map` puts it (None: CPU). Raises UserError as `open_model` does."""
    return open_model(
        pretrained,
        said=f"pretrained={pretrained}",
        revision=revision,
        trust_remote_code=trust_remote_code,
        dtype=dtype if dtype == "auto" else getattr(torch, dtype),
        device_map=device_map,
        attn_implementation=attn_implementation,
    ).eval()


def open_model(name: str | Path, said: str, kind: Any = None, **how: Any) -> torch.nn.Module:
    """The model of a folder or a hub id, for evaluation, training and export alike.

    said: how messages name it. kind: the class that opens it (default: the one for images and text). how: of
    `from_pretrained`. Raises UserError if the model does not load, lacks tensors, holds NaN or infinity, or has an
    adapter beside its weights that nobody named.
    """
    from transformers import AutoModelForImageTextToText

    require_model_files(str(name), how.get("revision"))
    try:
        model, report = (kind or AutoModelForImageTextToText).from_pretrained(
            name, use_safetensors=True, output_loading_info=True, **how
        )
    except Exception as error:  # whatever fails here, lmms-eval would retry it and end with exit code 0
        raise UserError(f"{said} does not load: {typed_reason_of(error)}") from error
    lost = sorted(report["missing_keys"])
    if lost:
        raise UserError(
            f"{said} lacks {len(lost)} tensors of a {type(model).__name__}, such as {lost[0]}; they would be random. "
            "Fetch the model again, or name one that is whole."
        )
    if os.environ.get("LOCAL_RANK", "0") in ("0", "-1"):  # other processes hold the same weights, or none yet (FSDP)
        require_finite_model(model, str(name))
    return model


def require_model_files(pretrained: str, revision: str | None = None, *, linked: bool = True) -> None:
    """Raise UserError unless a model (a folder or a hub id) has all its weight files, and no adapter beside them.

    Transformers applies an adapter that lies there without being asked, so one is accepted only in a folder that
    `mllmu export --link` made, whose record names it, and only where `linked` says that such a folder will do.
    """
    folder = local_folder(pretrained, revision=revision)
    require_whole_model(folder, pretrained)
    if not (folder / CONFIG).is_file():
        return
    if not (folder / RECORD).is_file() or not linked:
        raise UserError(
            f"model '{pretrained}' has an adapter beside its weights ({CONFIG}), which Transformers would apply "
            "unnamed; move the adapter into a folder of its own and name it with peft=, or merge it first with "
            "`mllmu export`."
        )
    read_adapter(folder)  # the same guards as for peft=


def refuse_adapter(name: str) -> None:
    """Raise UserError for a folder that is an adapter, or holds no model at all. A hub id passes."""
    folder = Path(name)
    if not folder.is_dir() or (folder / "config.json").is_file():
        return
    if (folder / CONFIG).is_file() or (folder / RECORD).is_file():
        raise UserError(
            f"'{name}' is an adapter, no model; merge the adapter first (mllmu export {name} --out MERGED), or, to "
            f"evaluate it, pass it as peft={name}, and its base as pretrained=."
        )
    raise UserError(f"'{name}' holds no config.json; it is no model folder.")
