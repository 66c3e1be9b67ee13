"""Prompts in, answers out: one loaded model, batches of prompts that may differ in images and length."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import torch
from PIL import Image
from transformers import StoppingCriteriaList

from mllmu_tasks.errors import UserError
from mllmu_tasks.models.batching import Row, stack
from mllmu_tasks.models.generation import AnswersEnd, cut, take_sampling_defaults
from mllmu_tasks.models.rendering import Prompt, encode, tokenizer_adds


@dataclass
class Counts:
    """The work done, without padding. images_encoded: passes through the vision tower."""

    questions: int = 0
    unanswered: int = 0
    tokens_prefilled: int = 0
    tokens_decoded: int = 0
    images_encoded: int = 0

    def as_dict(self) -> dict[str, int]:
        return asdict(self)

    def __str__(self) -> str:
        return ", ".join(f"{value} {name.replace('_', ' ')}" for name, value in self.as_dict().items())


class Engine:
    """model: anything with `generate`, in eval mode, on `device`. processor: its processor."""

    def __init__(self, model: Any, processor: Any, device: torch.device) -> None:
        self.model, self.processor, self.device = model, processor, device
        self.dtype = model.dtype  # taken now: adapter weights may come in float32
        self.tokenizer = processor.tokenizer
        end = self.tokenizer.eos_token_id
        self.pad = end if self.tokenizer.pad_token_id is None else self.tokenizer.pad_token_id
        self.sampling_defaults = take_sampling_defaults(model)
        self.counts = Counts()
        self._image_tokens: dict[tuple, int] = {}

    @property
    def context(self) -> int | None:
        """Tokens that a prompt may have; None if the model's configuration sets no bound."""
        return self.model.config.get_text_config().to_dict().get("max_position_embeddings")

    def length(self, prompt: Prompt, images: Sequence[Image.Image]) -> int:
        """Tokens of a prompt with its images. Only images of new sizes are shown to the processor."""
        add = tokenizer_adds(self.tokenizer, prompt.text)
        tokens = len(self.tokenizer(prompt.text, add_special_tokens=add)["input_ids"])
        if not images:
            return tokens
        sizes = tuple(image.size for image in images)
        if sizes not in self._image_tokens:
            self._image_tokens[sizes] = self._encode(prompt, images)["input_ids"].shape[1] - tokens
        return tokens + self._image_tokens[sizes]

    def answer(self, prompts: Sequence[Prompt]) -> list[str]:
        """Answers of one batch; all prompts have equal settings. Raises UserError naming who was asked what.

        Nothing that fails becomes an empty answer: on a forget set that would look like perfect unlearning.
        """
        try:
            rows = [self._encode(prompt, prompt.load_images()) for prompt in prompts]
            texts = self._generate(prompts, rows)
        except torch.OutOfMemoryError as error:
            raise UserError(
                f"out of memory at {prompts[0].where} with batch size {len(prompts)}; lower --batch_size. The answers "
                "so far are kept: the same command goes on from there."
            ) from error
        except UserError:
            raise
        except Exception as error:
            raise UserError(f"could not answer {self._culprit(prompts, rows)}: {_reason(error)}") from error
        self.counts.questions += len(prompts)
        self.counts.unanswered += sum(not text.strip() for text in texts)
        return texts

    def _encode(self, prompt: Prompt, images: Sequence[Image.Image]) -> Row:
        try:
            return encode(self.processor, prompt.text, images)
        except Exception as error:
            raise UserError(f"could not prepare {prompt.where}: {_reason(error)}") from error

    def _culprit(self, prompts: Sequence[Prompt], rows: Sequence[Row]) -> str:
        """Which prompt of a failed batch fails alone as well."""
        for prompt, row in zip(prompts, rows, strict=True) if len(prompts) > 1 else ():
            try:
                self._generate([prompt], [row])
            except Exception:
                return prompt.where
        return prompts[0].where if len(prompts) == 1 else f"{prompts[0].where} and {len(prompts) - 1} others together"

    @torch.inference_mode()
    def _generate(self, prompts: Sequence[Prompt], rows: Sequence[Row]) -> list[str]:
        inputs = stack(rows, {"input_ids": self.pad}, "left")
        length = inputs["input_ids"].shape[1]
        made = self.model.generate(
            **{name: self._to_device(value) for name, value in inputs.items()}, **self._arguments(prompts, length)
        )[:, length:]
        self.counts.tokens_prefilled += sum(row["input_ids"].shape[1] for row in rows)
        self.counts.tokens_decoded += int((made != self.pad).sum())
        self.counts.images_encoded += sum(prompt.image_count for prompt in prompts)
        texts = self.tokenizer.batch_decode(made, skip_special_tokens=True)
        return [cut(text, prompt.until) for text, prompt in zip(texts, prompts, strict=True)]

    def _arguments(self, prompts: Sequence[Prompt], length: int) -> dict[str, Any]:
        settings = dict(prompts[0].settings)
        if settings["do_sample"]:
            settings = self.sampling_defaults | settings
        stops = [prompt.until for prompt in prompts]
        if any(stops):
            ends = AnswersEnd(self.tokenizer, length, stops)
            settings["stopping_criteria"] = StoppingCriteriaList([ends])
        return settings | {"pad_token_id": self.pad}

    def _to_device(self, tensor: torch.Tensor) -> torch.Tensor:
        return tensor.to(self.device, self.dtype) if tensor.is_floating_point() else tensor.to(self.device)


def _reason(error: Exception) -> str:
    return f"{type(error).__name__}: {' '.join(str(error).split())[:300]}"
