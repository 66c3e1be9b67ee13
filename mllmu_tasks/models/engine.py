"""Prompts in, answers out: one loaded model, batches of prompts that may differ in images and length."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import torch
from PIL import Image
from transformers import StoppingCriteriaList

from mllmu_tasks.errors import UserError
from mllmu_tasks.models import prefix as prefixes
from mllmu_tasks.models.batching import Row, alike, stack
from mllmu_tasks.models.generation import AnswersEnd, cut, take_sampling_defaults
from mllmu_tasks.models.prefix import Prefix
from mllmu_tasks.models.rendering import Prompt, encode, tokenizer_adds


@dataclass
class Counts:
    """The work done, without padding. images_encoded: passes through the vision tower.

    tokens_reused: of shared beginnings, which were not prefilled again.
    """

    questions: int = 0
    unanswered: int = 0
    tokens_prefilled: int = 0
    tokens_reused: int = 0
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
        """Tokens of a prompt with its images. Only images of new sizes, in number too, are shown to the processor.

        Raises UserError if the processor does not take such a prompt.
        """
        tokens = len(self._tokens(prompt))
        sizes = tuple(image.size for image in images)
        if sizes not in self._image_tokens:
            self._image_tokens[sizes] = self._encode(prompt, images)["input_ids"].shape[1] - tokens
        return tokens + self._image_tokens[sizes]

    def _tokens(self, prompt: Prompt) -> list[int]:
        """Before the processor unfolds the images' marks."""
        add = tokenizer_adds(self.tokenizer, prompt.text)
        return self.tokenizer(prompt.text, add_special_tokens=add)["input_ids"]

    def shared(self, prompts: Sequence[Prompt]) -> Prefix | None:
        """The beginning that these prompts share, if their answers can be made from it and it pays."""
        settings = prompts[0].settings
        greedy = not settings["do_sample"] and settings.get("num_beams", 1) == 1
        if len(prompts) < 2 or not greedy or self.model.config.model_type not in prefixes.ARCHITECTURES:
            return None
        mark = self.processor.image_token_id
        tokens = [self._tokens(prompt) for prompt in prompts]
        length, images = prefixes.find(tokens, [prompt.images for prompt in prompts], mark)
        if length < prefixes.WORTH_TOKENS and not images:
            return None
        whole = self._encode(prompts[0], prompts[0].load_images())
        return prefixes.make(whole, tokens[0], length, images, mark)

    def answer(self, prompts: Sequence[Prompt], prefix: Prefix | None = None) -> list[str]:
        """Answers of one batch; all prompts have equal settings. Raises UserError naming who was asked what.

        prefix: what `shared` returned for these prompts or more; its memory is held as long as it is.
        Nothing that fails becomes an empty answer: on a forget set that would look like perfect unlearning.
        """
        try:
            rows = [self._row(prompt, prefix) for prompt in prompts]
            texts = [""] * len(rows)
            for places in alike(rows):
                made = self._generate([prompts[n] for n in places], [rows[n] for n in places], prefix)
                for place, text in zip(places, made, strict=True):
                    texts[place] = text
        except torch.OutOfMemoryError as error:
            raise UserError(
                f"out of memory at {prompts[0].where} with batch size {len(prompts)}; lower --batch_size. The answers "
                "so far are kept: the same command goes on from there."
            ) from error
        except UserError:
            raise
        except Exception as error:
            raise UserError(f"could not answer {self._culprit(prompts, rows, prefix)}: {_reason(error)}") from error
        self.counts.questions += len(prompts)
        self.counts.unanswered += sum(not text.strip() for text in texts)
        return texts

    def _encode(self, prompt: Prompt, images: Sequence[Image.Image]) -> Row:
        try:
            return encode(self.processor, prompt.text, images)
        except Exception as error:
            raise UserError(
                f"could not prepare {prompt.where}, whose prompt has {len(images)} images: {_reason(error)} If this "
                "model takes no such prompts, choose other --tasks, or MLLMU_SHOTS=0 for prompts without examples."
            ) from error

    def _row(self, prompt: Prompt, prefix: Prefix | None) -> Row:
        """Tensors of a prompt, or of what follows the beginning."""
        if prefix is None:
            return self._encode(prompt, prompt.load_images())
        ids = prefix.rest(self._tokens(prompt), self.processor.image_token_id)
        row = {"input_ids": ids, "attention_mask": torch.ones_like(ids)}
        images = prompt.load_images()[prefix.images :]
        if images:
            marks = replace(prompt, text=self.processor.image_token * len(images))
            row["pixel_values"] = self._encode(marks, images)["pixel_values"]
        return row

    def _culprit(self, prompts: Sequence[Prompt], rows: Sequence[Row], prefix: Prefix | None) -> str:
        """Which prompt of a failed batch fails alone as well."""
        for prompt, row in zip(prompts, rows, strict=True) if len(prompts) > 1 else ():
            try:
                self._generate([prompt], [row], prefix)
            except Exception:
                return prompt.where
        return prompts[0].where if len(prompts) == 1 else f"{prompts[0].where} and {len(prompts) - 1} others together"

    @torch.inference_mode()
    def _generate(self, prompts: Sequence[Prompt], rows: Sequence[Row], prefix: Prefix | None) -> list[str]:
        inputs = {name: self._to_device(value) for name, value in stack(rows, {"input_ids": self.pad}, "left").items()}
        if prefix:
            if prefix.prefill(self.model, self.device, self.dtype):
                self._count(prefix.ids.shape[1], prefix.images)
            inputs = prefix.before(inputs)
            self.counts.tokens_reused += len(rows) * prefix.ids.shape[1]
        length = inputs["input_ids"].shape[1]
        made = self.model.generate(**inputs, **self._arguments(prompts, length))[:, length:]
        for row, prompt in zip(rows, prompts, strict=True):
            self._count(row["input_ids"].shape[1], len(prompt.images) - (prefix.images if prefix else 0))
        self.counts.tokens_decoded += int((made != self.pad).sum())
        texts = self.tokenizer.batch_decode(made, skip_special_tokens=True)
        return [cut(text, prompt.until) for text, prompt in zip(texts, prompts, strict=True)]

    def _count(self, tokens: int, images: int) -> None:
        self.counts.tokens_prefilled += tokens
        self.counts.images_encoded += images

    def _arguments(self, prompts: Sequence[Prompt], length: int) -> dict[str, Any]:
        settings = dict(prompts[0].settings)
        if settings["do_sample"]:
            settings = self.sampling_defaults | settings
        stops = [prompt.until for prompt in prompts]
        if any(stops) and settings.get("num_beams", 1) == 1:  # ending a beam early would change which one wins
            ends = AnswersEnd(self.tokenizer, length, stops)
            settings["stopping_criteria"] = StoppingCriteriaList([ends])
        return settings | {"pad_token_id": self.pad}

    def _to_device(self, tensor: torch.Tensor) -> torch.Tensor:
        return tensor.to(self.device, self.dtype) if tensor.is_floating_point() else tensor.to(self.device)


def _reason(error: Exception) -> str:
    return f"{type(error).__name__}: {' '.join(str(error).split())[:300]}"
