"""Prompts -> what the model takes, on the CPU; may run in a thread beside the model."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from PIL import Image

from mllmu_tasks.errors import UserError
from mllmu_tasks.models import prefix as prefixes
from mllmu_tasks.models.batching import Row
from mllmu_tasks.models.prefix import Prefix
from mllmu_tasks.models.rendering import Prompt, encode, tokenizer_adds
from mllmu_tasks.models.vision import Piece, Vision

PIXELS = ("pixel_values", "pixel_attention_mask")


@dataclass(frozen=True)
class Prepared:
    """A prompt's tensors (1, ...), or of what follows the shared beginning, and its images.

    Where features are cached, the images are in `pieces` and their pixels are not in `row`.
    """

    prompt: Prompt
    row: Row
    pieces: Sequence[Piece]


@dataclass(frozen=True)
class Batch:
    """Prompts that are answered together. All have equal settings."""

    rows: Sequence[Prepared]
    prefix: Prefix | None = None

    @property
    def prompts(self) -> list[Prompt]:
        return [row.prompt for row in self.rows]


@dataclass
class Learnt:
    """tokens: by text. added: by sizes of images, the tokens that they add. runs: likewise, tokens an image."""

    tokens: dict[str, list[int]] = field(default_factory=dict)
    added: dict[tuple, int] = field(default_factory=dict)
    runs: dict[tuple, int | None] = field(default_factory=dict)


class Preparer:
    """One processor's way with prompts.

    It learns from the processor how many tokens images of a size become; a processor that only unfolds every image's
    mark into a run of marks is not asked again: each image is then shown to it alone, and only once.
    """

    def __init__(self, processor: Any, vision: Vision, model_type: str, learnt: Learnt) -> None:
        self.processor, self.vision, self.learnt = processor, vision, learnt
        self.unfolds = model_type in prefixes.ARCHITECTURES

    def tokens(self, prompt: Prompt) -> list[int]:
        """Before the processor unfolds the images' marks."""
        known = self.learnt.tokens
        if prompt.text not in known:
            add = tokenizer_adds(self.processor.tokenizer, prompt.text)
            known[prompt.text] = self.processor.tokenizer(prompt.text, add_special_tokens=add)["input_ids"]
        return known[prompt.text]

    def length(self, prompt: Prompt, images: Sequence[Image.Image]) -> int:
        """Tokens of a prompt with its images. Only images of new sizes, in number too, are shown to the processor.

        Raises UserError if the processor does not take such a prompt.
        """
        tokens = self.tokens(prompt)
        if prompt.sizes not in self.learnt.added:
            ids = self.encode(prompt, images)["input_ids"][0].tolist()
            self.learnt.added[prompt.sizes] = len(ids) - len(tokens)
            if self.unfolds:
                self.learnt.runs[prompt.sizes] = prefixes.run_of(ids, tokens, self.processor.image_token_id)
        return len(tokens) + self.learnt.added[prompt.sizes]

    def run(self, prompt: Prompt) -> int | None:
        """Tokens an image, if the processor only unfolds marks in prompts of such images."""
        return self.learnt.runs.get(prompt.sizes) if prompt.settings.get("num_beams", 1) == 1 else None

    def encode(self, prompt: Prompt, images: Sequence[Image.Image]) -> Row:
        """By the processor. Raises UserError naming who was asked what."""
        try:
            return encode(self.processor, prompt.text, images)
        except Exception as error:
            raise UserError(
                f"could not prepare {prompt.where}, whose prompt has {len(images)} images: {reason(error)} If this "
                "model takes no such prompts, choose other --tasks, or MLLMU_SHOTS=0 for prompts without examples."
            ) from error

    def prepare(self, prompts: Sequence[Prompt], prefix: Prefix | None = None) -> Batch:
        """Raises UserError naming who was asked what."""
        return Batch([self._prepare(prompt, prefix) for prompt in prompts], prefix)

    def _prepare(self, prompt: Prompt, prefix: Prefix | None) -> Prepared:
        run = self.run(prompt)
        if run is None:
            row = self.encode(prompt, prompt.load_images())
            if not self.vision.caches or prompt.settings.get("num_beams", 1) > 1:
                return Prepared(prompt, row, ())
            pieces = self.vision.pieces(row)
            return Prepared(prompt, without_pixels(row), pieces)
        first, shown = (prefix.tokens, prefix.images) if prefix else (0, 0)
        ids = torch.tensor([prefixes.unfold(self.tokens(prompt)[first:], self.processor.image_token_id, run)])
        row = {"input_ids": ids, "attention_mask": torch.ones_like(ids)}
        return Prepared(prompt, row, self._images(prompt, range(shown, len(prompt.images))))

    def _images(self, prompt: Prompt, places: Sequence[int]) -> list[Piece]:
        """The images of a prompt at `places`, one by one; those whose features are known are not even loaded."""
        known = self.vision.cache.kept
        images = prompt.load_images() if any(prompt.images[n] not in known for n in places) else ()
        return [
            Piece(key, None if key in known else self._pixels(prompt, images[n]))
            for n, key in ((n, prompt.images[n]) for n in places)
        ]

    def _pixels(self, prompt: Prompt, image: Image.Image) -> Row:
        mark = replace(prompt, text=self.processor.image_token)
        return {"pixel_values": self.encode(mark, [image])["pixel_values"]}

    def shared(self, prompts: Sequence[Prompt]) -> Prefix | None:
        """The beginning that these prompts share, if their answers can be made from it and it pays."""
        settings = prompts[0].settings
        runs = {self.run(prompt) for prompt in prompts}
        if len(prompts) < 2 or settings["do_sample"] or len(runs) > 1 or None in runs:
            return None
        mark = self.processor.image_token_id
        tokens = [self.tokens(prompt) for prompt in prompts]
        length, images = prefixes.find(tokens, [prompt.images for prompt in prompts], mark)
        ids = prefixes.unfold(tokens[0][:length], mark, *runs)
        if len(ids) < prefixes.WORTH_TOKENS:
            return None
        return Prefix(length, images, torch.tensor([ids]), self._images(prompts[0], range(images)))


def without_pixels(row: Row) -> Row:
    return {name: value for name, value in row.items() if name not in PIXELS}


def reason(error: Exception) -> str:
    return f"{type(error).__name__}: {' '.join(str(error).split())[:300]}"


def settings_are_greedy(settings: Mapping[str, Any]) -> bool:
    return not settings["do_sample"] and settings.get("num_beams", 1) == 1
