"""Prompts -> what the model takes, on the CPU; may run in a thread beside the model."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from PIL import Image

from mllmu_tasks.errors import UserError, typed_reason_of
from mllmu_tasks.models.batching import Row, by_token
from mllmu_tasks.models.encode import encode, tokens_of
from mllmu_tasks.models.engine import prefix as prefixes
from mllmu_tasks.models.engine.prefix import Prefix
from mllmu_tasks.models.engine.vision import Piece, Vision
from mllmu_tasks.models.prompt import Prompt
from mllmu_tasks.models.special_text import refuse_unknown

PIXELS = ("pixel_values", "pixel_attention_mask")


@dataclass(frozen=True)
class Prepared:
    """A prompt's tensors (1, ...), or of what follows the shared beginning if it is `cut`, and its images.

    Where features are cached, the images are in `pieces` and their pixels are not in `row`. positions: (axes, 1, S) of
    these tokens, where they follow image grids.
    """

    prompt: Prompt
    row: Row
    pieces: Sequence[Piece]
    cut: bool = False
    positions: torch.Tensor | None = None


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

    def __init__(self, processor: Any, vision: Vision, model: Any, learnt: Learnt) -> None:
        self.processor, self.vision, self.learnt = processor, vision, learnt
        self.model, self.grids = model, vision.family.grids
        self.shares = vision.family.shares
        self.reach = prefixes.reach(model.config.get_text_config())
        self.unfolds = self.shares and vision.family.unfolds

    def tokens(self, prompt: Prompt) -> list[int]:
        """Before the processor unfolds the images' marks. Raises UserError for tokens that the model does not know."""
        known = self.learnt.tokens
        if prompt.text not in known:
            ids = tokens_of(self.processor, prompt.text)
            refuse_unknown(ids, self.processor, self.model, prompt.where)
            known[prompt.text] = ids
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

    def reaches(self, width: int, prompt: Prompt) -> bool:
        """Whether a beginning may be handed on in a batch so wide, with the answers to come."""
        return self.reach is None or width + prompt.answer_tokens <= self.reach

    def run(self, prompt: Prompt) -> int | None:
        """Tokens an image, if the processor only unfolds marks in prompts of such images."""
        return self.learnt.runs.get(prompt.sizes) if prompt.beams == 1 else None

    def encode(self, prompt: Prompt, images: Sequence[Image.Image]) -> Row:
        """By the processor. Raises UserError naming who was asked what."""
        try:
            return encode(self.processor, prompt.text, images)
        except Exception as error:
            raise UserError(
                f"could not prepare {prompt.where}, whose prompt has {len(images)} images: {typed_reason_of(error)} If "
                "this model takes no such prompts, choose other --tasks, or MLLMU_SHOTS=0 for prompts without examples."
            ) from error

    def prepare(self, prompts: Sequence[Prompt], prefix: Prefix | None = None) -> Batch:
        """Raises UserError naming who was asked what."""
        return Batch([self._prepare(prompt, prefix) for prompt in prompts], prefix)

    def _prepare(self, prompt: Prompt, prefix: Prefix | None) -> Prepared:
        run = self.run(prompt)
        if run is None:
            row = self.encode(prompt, prompt.load_images())
            if not self.vision.caches or prompt.beams > 1:
                return Prepared(prompt, row, ())
            return self._after(prompt, row, prefix)
        first, shown = (prefix.tokens, prefix.images) if prefix else (0, 0)
        ids = torch.tensor([prefixes.unfold(self.tokens(prompt)[first:], self.processor.image_token_id, run)])
        row = {"input_ids": ids, "attention_mask": torch.ones_like(ids)}
        return Prepared(prompt, row, self._images(prompt, range(shown, len(prompt.images))), prefix is not None)

    def _after(self, prompt: Prompt, row: Row, prefix: Prefix | None) -> Prepared:
        """Of a whole prompt's tensors, what follows the beginning; all of them if it does not begin so."""
        pieces = self.vision.pieces(row)
        positions = self._positions(row) if pieces or prefix else None
        if prefix is None or not prefix.starts(row, pieces):
            return Prepared(prompt, without_pixels(row), pieces, positions=positions)
        length = prefix.ids.shape[1]
        rest = without_pixels(row) | {name: row[name][:, length:] for name in prefix.row}
        after = None if positions is None else positions[..., length:]
        return Prepared(prompt, rest, pieces[len(prefix.pieces) :], True, after)

    def _positions(self, row: Row) -> torch.Tensor | None:
        """(axes, 1, T) by the model's own rule, where they follow image grids."""
        if not self.grids:
            return None
        return self.model._prepare_position_ids_for_generation(row["input_ids"], without_pixels(row))

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
        if len(prompts) < 2 or not self.shares or not prompts[0].greedy:
            return None
        mark, tokens = self.processor.image_token_id, [self.tokens(prompt) for prompt in prompts]
        if any(one.count(mark) != len(prompt.images) for one, prompt in zip(tokens, prompts, strict=True)):
            return None
        added = self.learnt.added
        if not self.reaches(max(len(self.tokens(prompt)) + added[prompt.sizes] for prompt in prompts), prompts[0]):
            return None
        length, images = prefixes.find(tokens, [prompt.images for prompt in prompts], mark)
        runs = {self.run(prompt) for prompt in prompts}
        if len(runs) > 1 or None in runs:
            return self._shared_whole(prompts[0], tokens[0], length, images)
        ids = torch.tensor([prefixes.unfold(tokens[0][:length], mark, *runs)])
        if ids.shape[1] < prefixes.WORTH_TOKENS:
            return None
        row = {"input_ids": ids, "attention_mask": torch.ones_like(ids)}
        return Prefix(length, images, row, self._images(prompts[0], range(images)))

    def _shared_whole(self, prompt: Prompt, tokens: Sequence[int], length: int, images: int) -> Prefix | None:
        """The beginning cut from what the processor makes of a whole prompt, whose images are all of one size."""
        total = len(prompt.images)
        if len(set(prompt.sizes)) > 1 or length < prefixes.WORTH_TOKENS:
            return None
        row = self.encode(prompt, prompt.load_images())
        ids, mark = row["input_ids"][0].tolist(), self.processor.image_token_id
        pieces = self.vision.pieces(row)
        added = (len(ids) - len(tokens)) // total if total else 0
        cut = len(ids) - (len(tokens) - length) - (total - images) * added
        if len(pieces) * images % max(total, 1) or ids[:cut].count(mark) * total != ids.count(mark) * images:
            return None  # images that do not become equally many tokens
        shown = pieces[: len(pieces) * images // total] if total else ()
        positions = self._positions(row)
        by_tokens = {name: value[:, :cut] for name, value in row.items() if by_token(value, row["input_ids"])}
        return Prefix(length, images, by_tokens, shown, None if positions is None else positions[..., :cut])


def without_pixels(row: Row) -> Row:
    return {name: value for name, value in row.items() if name not in PIXELS}
