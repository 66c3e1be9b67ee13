"""Prompts in, answers out: one loaded model, batches of prompts that may differ in images and length."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from transformers import StoppingCriteriaList

from mllmu_tasks.errors import UserError, typed_reason_of
from mllmu_tasks.models.base_model import Base
from mllmu_tasks.models.batching import alike, stack
from mllmu_tasks.models.encode import padding_id
from mllmu_tasks.models.engine import same_images
from mllmu_tasks.models.engine.counts import Counts
from mllmu_tasks.models.engine.decoding import Greedy
from mllmu_tasks.models.engine.generation import AnswersEnd, cut
from mllmu_tasks.models.engine.prefix import Computed, Prefix
from mllmu_tasks.models.engine.preparing import Batch, Prepared, Preparer
from mllmu_tasks.models.engine.same_images import SameImages
from mllmu_tasks.models.engine.vision import ShownCache, Vision
from mllmu_tasks.models.families import family_of
from mllmu_tasks.models.prompt import Prompt

LOOK = 4  # stop texts are looked for after so many tokens: an answer is cut at its first one anyway


@dataclass(frozen=True)
class Start:
    """inputs: of a forward or of `generate`, on the device, keys and values of what is shared among them. rows: what
    is not shared. same: what rows about the same images share.
    """

    inputs: dict[str, Any]
    rows: Sequence[Prepared]
    same: SameImages | None


class Engine:
    """model: anything with `generate`, in eval mode, on `device`; an adapter's layers sit inside it. base: what it
    was loaded as. features: where image features are kept.
    """

    def __init__(self, model: Any, base: Base, device: torch.device, features: ShownCache) -> None:
        self.model, self.device = model, device
        self.dtype = model.dtype  # taken now: adapter weights may come in float32
        self.tokenizer = base.processor.tokenizer
        self.pad = padding_id(self.tokenizer)
        self.sampling_defaults = base.sampling_defaults
        self.counts = Counts()
        self.vision = Vision(model, family_of(model.config.model_type), self.counts, features)
        self.preparer = Preparer(base.processor, self.vision, model, base.learnt)

    @property
    def context(self) -> int | None:
        """Tokens that a prompt may have; None if the model's configuration sets no bound."""
        return self.model.config.get_text_config().to_dict().get("max_position_embeddings")

    def answer(self, batch: Batch) -> list[str]:
        """Raises UserError naming who was asked what; torch.OutOfMemoryError for a smaller batch to be tried.

        Nothing that fails becomes an empty answer: on a forget set that would look like perfect unlearning.
        """
        try:
            texts = self._together(batch)
        except (UserError, torch.OutOfMemoryError):
            raise
        except Exception as error:
            raise UserError(f"could not answer {self._culprit(batch)}: {typed_reason_of(error)}") from error
        self.counts.questions += len(texts)
        self.counts.unanswered += sum(not text.strip() for text in texts)
        return texts

    def _together(self, batch: Batch) -> list[str]:
        texts = [""] * len(batch.rows)
        for cut_off in (True, False):
            chosen = [n for n, row in enumerate(batch.rows) if row.cut == cut_off]
            for group in alike([batch.rows[n].row for n in chosen]):
                places = [chosen[n] for n in group]
                made = self._generate([batch.rows[n] for n in places], batch.prefix if cut_off else None)
                for place, text in zip(places, made, strict=True):
                    texts[place] = text
        return texts

    def _culprit(self, batch: Batch) -> str:
        """Which prompt of a failed batch fails alone as well."""
        for row in batch.rows if len(batch.rows) > 1 else ():
            try:
                self._generate([row], batch.prefix if row.cut else None)
            except Exception:
                return row.prompt.where
        others = f" and {len(batch.rows) - 1} others together" if len(batch.rows) > 1 else ""
        return batch.rows[0].prompt.where + others

    @torch.inference_mode()
    def _generate(self, rows: Sequence[Prepared], prefix: Prefix | None) -> list[str]:
        prompts = [row.prompt for row in rows]
        start = self._start(rows, prefix, share=prompts[0].greedy)
        tokens = (self._greedy if prompts[0].greedy else self._by_generate)(start.inputs, prompts)
        self._count(start, prefix)  # not before: a batch that does not fit into memory comes again
        return [cut(text, prompt.reading.until) for text, prompt in zip(self.read(tokens), prompts, strict=True)]

    def _start(self, rows: Sequence[Prepared], prefix: Prefix | None, *, share: bool) -> Start:
        """What rows share is computed here; a pass over what is left of them comes next. share: same images, too."""
        if prefix and prefix.prefill(self.model, self.vision, self.device):
            self.counts.tokens_prefilled += prefix.ids.shape[1]
        same = self._same_images(rows, prefix) if share else None
        rows, beginning = self._begin(rows, prefix, same)
        stacked = stack([row.row for row in rows], {"input_ids": self.pad}, "left")
        inputs = {name: self._to_device(value) for name, value in stacked.items()}
        if beginning:
            inputs = beginning.before(inputs, [row.positions for row in rows])
        pieces = [piece for row in rows for piece in row.pieces]
        return Start(inputs | self.vision.show(pieces, [row.row["input_ids"] for row in rows]), rows, same)

    def _same_images(self, rows: Sequence[Prepared], prefix: Prefix | None) -> SameImages | None:
        preparer = self.preparer
        width = (prefix.ids.shape[1] if prefix else 0) + max(row.row["input_ids"].shape[1] for row in rows)
        if not preparer.shares or not preparer.reaches(width, rows[0].prompt):
            return None
        return same_images.find(rows, preparer.processor.image_token_id, preparer.grids)

    def _begin(
        self, rows: Sequence[Prepared], prefix: Prefix | None, same: SameImages | None
    ) -> tuple[Sequence[Prepared], Computed | None]:
        """(what is not shared of each row, what they share, computed)."""
        if same is None:
            return rows, prefix.computed(len(rows)) if prefix else None
        return same.rests(), same.compute(self.model, self.vision, self.device, prefix)

    def _count(self, start: Start, prefix: Prefix | None) -> None:
        """Of a batch that is answered."""
        counts, rows, same = self.counts, start.rows, start.same
        counts.tokens_prefilled += sum(row.row["input_ids"].shape[1] for row in rows)
        counts.tokens_reused += len(rows) * prefix.ids.shape[1] if prefix else 0
        if same:
            counts.tokens_prefilled += same.tokens_computed
            counts.tokens_reused += same.tokens_reused
            counts.images_reused += same.images_reused
        if "pixel_values" in start.inputs and not any(row.pieces for row in rows):
            counts.images_encoded += sum(len(row.prompt.images) for row in rows)

    def _greedy(self, inputs: dict[str, Any], prompts: Sequence[Prompt]) -> list[list[int]]:
        settings = dict(prompts[0].settings)

        def over(rows: Sequence[int], tokens: Sequence[list[int]]) -> list[bool]:
            looked = [n for n, row in enumerate(rows) if self._looks(prompts[row], len(tokens[n]))]
            texts = self.read([tokens[n] for n in looked])
            ended = {n for n, text in zip(looked, texts, strict=True) if prompts[rows[n]].reading.is_over(text)}
            return [n in ended for n in range(len(rows))]

        loop = Greedy(len(prompts), settings["max_new_tokens"], over)
        self.model.generate(**inputs, **settings, pad_token_id=self.pad, custom_generate=loop)
        self.counts.tokens_decoded += loop.tokens
        return loop.answers

    @staticmethod
    def _looks(prompt: Prompt, tokens: int) -> bool:
        return prompt.reading.short or (bool(prompt.reading.until) and tokens % LOOK == 0)

    def _by_generate(self, inputs: dict[str, Any], prompts: Sequence[Prompt]) -> list[list[int]]:
        """Sampling and beams."""
        length = inputs["input_ids"].shape[1]
        settings = dict(prompts[0].settings)
        if settings["do_sample"]:
            settings = self.sampling_defaults | settings
        readings = [prompt.reading for prompt in prompts]
        if prompts[0].beams == 1:  # ending a beam early would change which one wins
            settings["stopping_criteria"] = StoppingCriteriaList([AnswersEnd(self.read, length, readings)])
        made = self.model.generate(**inputs, **settings, pad_token_id=self.pad)[:, length:]
        self.counts.by_generate += len(prompts)
        self.counts.tokens_decoded += int((made != self.pad).sum())
        return made.tolist()

    def read(self, rows: Sequence[list[int]]) -> list[str]:
        """Texts of rows of tokens."""
        return self.tokenizer.batch_decode(rows, skip_special_tokens=True) if rows else []

    def _to_device(self, tensor: torch.Tensor) -> torch.Tensor:
        return tensor.to(self.device, self.dtype) if tensor.is_floating_point() else tensor.to(self.device)
