"""The generation settings of lmms-eval's tasks -> arguments of `generate`; where an answer ends."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from transformers import StoppingCriteria

from mllmu_tasks.errors import UserError, did_you_mean
from mllmu_tasks.models.prompt import Reading

GENERATION = (
    *("max_new_tokens", "do_sample", "temperature", "top_p", "top_k", "num_beams", "repetition_penalty"),
    *("min_new_tokens", "length_penalty", "no_repeat_ngram_size"),
)
# What lmms-eval's tasks give to the harness or to other backends; it does not concern `generate`.
NOT_OURS = (
    "until",
    "max_gen_toks",
    "image_aspect_ratio",
    "visual_cot",
    "max_agentic_steps",
    "seed",
    "skip_special_tokens",
)
# They come from the checkpoint's generation_config.json too, where greedy decoding would warn of them.
SAMPLING = ("do_sample", "temperature", "top_p", "top_k", "min_p", "top_h", "typical_p", "epsilon_cutoff", "eta_cutoff")
DEFAULT_NEW_TOKENS = 128


def generation_settings(given: Mapping[str, Any], where: str) -> dict[str, Any]:
    """What goes to `generate`. Greedy, which temperature 0 means as well, drops the sampling settings.

    Raises UserError for a setting that neither `generate` nor another backend of lmms-eval knows.
    """
    for name in given:
        if name not in GENERATION and name not in NOT_OURS:
            raise UserError(f"{where}: generation setting '{name}' is unknown.{did_you_mean(name, GENERATION)}")
    settings = {name: given[name] for name in GENERATION if given.get(name) is not None}
    settings.setdefault("max_new_tokens", int(given.get("max_gen_toks") or DEFAULT_NEW_TOKENS))
    temperature = settings.get("temperature")
    settings["do_sample"] = bool(settings.get("do_sample", temperature)) and temperature != 0
    if not settings["do_sample"]:
        settings = {name: value for name, value in settings.items() if name not in SAMPLING[1:]}
    return settings


def stop_texts(given: Mapping[str, Any]) -> tuple[str, ...]:
    until = given.get("until") or ()
    return tuple(text for text in ((until,) if isinstance(until, str) else until) if text)


def take_sampling_defaults(model: Any) -> dict[str, Any]:
    """Remove the checkpoint's sampling defaults from its generation config and return them."""
    config = model.generation_config
    taken = {name: getattr(config, name) for name in SAMPLING if getattr(config, name, None) is not None}
    for name in taken:
        setattr(config, name, None)
    taken.pop("do_sample", None)
    return taken


class AnswersEnd(StoppingCriteria):
    """Ends a row of `model.generate` as soon as nothing more of it is read; the prompt is not looked at.

    prompt_length: tokens before the answer, padding included. readings: per row. read: rows of tokens -> texts.
    """

    def __init__(
        self, read: Callable[[Sequence[list[int]]], list[str]], prompt_length: int, readings: Sequence[Reading]
    ) -> None:
        self.read, self.start, self.readings = read, prompt_length, readings

    def __call__(self, input_ids: torch.Tensor, scores: Any, **kwargs: Any) -> torch.Tensor:
        """(B, T) ids -> (B,) bool."""
        texts = self.read(input_ids[:, self.start :].tolist())
        over = [reading.is_over(text) for text, reading in zip(texts, self.readings, strict=True)]
        return torch.tensor(over, device=input_ids.device)


def cut(text: str, stops: Sequence[str]) -> str:
    """The text before the first stop text."""
    ends = [text.index(stop) for stop in stops if stop in text]
    return text[: min(ends)] if ends else text
