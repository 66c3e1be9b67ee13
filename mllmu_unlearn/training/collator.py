"""Samples -> processor tensors with labels, for any processor; and rows -> batches, padded on the right.

A sample goes through the processor alone and once; batches are made from the results. Thus image and text
rows mix freely, and every tensor that a processor makes reaches the model without being known by name.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from PIL.Image import Image
from transformers import GenerationConfig, ProcessorMixin

from mllmu_tasks.errors import UserError
from mllmu_tasks.models.chat_template import require_shown
from mllmu_tasks.models.engine.batching import Row, by_token, stack
from mllmu_tasks.models.image_tokens import runs
from mllmu_tasks.models.rendering import encode, tokenizer_adds
from mllmu_tasks.models.shown_parts import ShownParts
from mllmu_unlearn.toolbox.losses import IGNORED
from mllmu_unlearn.toolbox.samples import Sample
from mllmu_unlearn.training.image_counts import RUNS


def stop_tokens(processor: ProcessorMixin, generation: GenerationConfig | None) -> frozenset[int]:
    """Ids that end an answer. Raises UserError if the tokenizer has no end-of-sequence token."""
    if processor.tokenizer.eos_token_id is None:
        raise UserError("the tokenizer has no eos_token; set one in its tokenizer_config.json.")
    also = generation.eos_token_id if generation is not None else None
    also = [also] if isinstance(also, int) else also or []
    return frozenset([processor.tokenizer.eos_token_id, *also])


class ChatEncoder:
    """The chat rendering: labels on the tokens and the stop token of learnt answers, -100 everywhere else."""

    whole_sequence = False

    def __init__(self, processor: ProcessorMixin, stops: Iterable[int]) -> None:
        require_template(processor)
        self.processor, self.shown = processor, ShownParts(processor)
        self.tokenizer = processor.tokenizer
        self.stops = frozenset(stops)

    def __call__(self, sample: Sample, images: Sequence[Image]) -> Row:
        """Processor tensors (1, ...) and labels (1, T). Raises UserError if an answer cannot be located."""
        row = self._with_last_answer(sample, images)
        if sample.learnt > 1:
            self._label_earlier(sample, row)
        return row

    def _label_earlier(self, sample: Sample, row: Row) -> None:
        """Labels on the other learnt answers, found in order: the processor is too slow to ask for each turn."""
        messages, ids, place = as_messages(sample), row["input_ids"][0].tolist(), 0
        for turn in range(len(sample.turns) - 1):
            prompt = self._tokens(
                self.processor.apply_chat_template(messages[: 2 * turn + 1], add_generation_prompt=True)
            )
            whole = self._tokens(self.processor.apply_chat_template(messages[: 2 * turn + 2]))
            answer = whole[_common(prompt, whole) :]
            end = next((n for n, token in enumerate(answer, 1) if token in self.stops), len(answer))
            before = whole[: len(whole) - len(answer)][-CONTEXT:]
            place = _find([*before, *answer[:end]], ids, place)
            if place < 0:
                raise UserError(
                    f"the chat template hides the answer '{sample.turns[turn].answer}' when more turns follow."
                )
            begin, place = place + len(before), place + len(before) + end
            if turn >= len(sample.turns) - sample.learnt:
                row["labels"][0, begin:place] = row["input_ids"][0, begin:place]

    def _with_last_answer(self, sample: Sample, images: Sequence[Image]) -> Row:
        messages = as_messages(sample)
        self.shown.require(messages[:-1], f"person {sample.person}")
        prompt = self.processor.apply_chat_template(messages[:-1], add_generation_prompt=True)
        require_shown(sample.question, prompt, f"person {sample.person}")
        text = self.processor.apply_chat_template(messages)
        answer = self._answer(prompt, text)
        if not self.stops & set(answer):
            text = text.rstrip() + self.tokenizer.eos_token
            answer = self._answer(prompt, text)
        ends = [place for place, token in enumerate(answer) if token in self.stops]
        if not ends or ends[0] == 0:
            raise UserError(f"the chat template hides the answer '{sample.answer}' of person {sample.person}.")
        row = encode(self.processor, text, images)
        ids = row["input_ids"]
        if ids[0, -len(answer) :].tolist() != answer:
            raise UserError(f"the processor changes the answer '{sample.answer}' of person {sample.person}.")
        length = ids.shape[1]
        row["labels"] = torch.full_like(ids, IGNORED)
        row["labels"][0, -len(answer) :] = ids[0, -len(answer) :]
        beyond = len(answer) - ends[0] - 1  # what the template writes after the stop token
        return {key: t[:, : length - beyond] if by_token(t, ids) else t for key, t in row.items()}

    def _answer(self, prompt: str, text: str) -> list[int]:
        """The tokens of `text` behind its longest common token prefix with `prompt`."""
        before, whole = self._tokens(prompt), self._tokens(text)
        return whole[_common(before, whole) :]

    def _tokens(self, text: str) -> list[int]:
        return self.tokenizer(text, add_special_tokens=tokenizer_adds(self.tokenizer, text))["input_ids"]


class OfficialEncoder:
    """What the benchmark's own code trains on: every token has a label (prompt and image too), no EOS.

    LLaVA: the raw text `USER: <image>\\n{question}\\nASSISTANT: {answer}`; others: their chat template.
    The official code has no text-only rows; ours are `USER:\\n{question}\\nASSISTANT: {answer}`.
    """

    whole_sequence = True

    def __init__(self, processor: ProcessorMixin, raw: bool) -> None:
        self.processor, self.shown = processor, ShownParts(processor)
        self.raw = raw

    def __call__(self, sample: Sample, images: Sequence[Image]) -> Row:
        if self.raw:
            image = f" {self.processor.image_token}" if images else ""
            text = f"USER:{image}\n{sample.question}\nASSISTANT: {sample.answer}"
        else:
            self.shown.require(as_messages(sample)[:-1], f"person {sample.person}")
            text = self.processor.apply_chat_template(as_messages(sample)).strip()
            require_shown(sample.question, text, f"person {sample.person}")
        row = encode(self.processor, text, images)
        return {**row, "labels": row["input_ids"].clone()}


class Collator:
    """Dataset items -> {side: batch}. A batch is {labels, keep, index, padding, **processor tensors}.

    labels: (B, K), shifted: logits at position keep[k] predict labels[:, k]. keep: (K,) the positions that
    any row scores (all if `whole_sequence`), so that the head computes no other logits. index: (B,).
    padding: how many tokens are padding. images: the numbers of the images, where the rows are numbered.
    image_runs: lengths of the runs of image tokens, where `image_token` is known.
    """

    def __init__(self, padding: int, whole_sequence: bool = False, image_token: int | None = None) -> None:
        self.padding = padding
        self.whole_sequence = whole_sequence
        self.image_token = image_token

    def __call__(self, items: Sequence[Mapping[str, tuple[int, Row, bool]]]) -> dict[str, dict[str, Any]]:
        return {side: self.batch([item[side] for item in items]) for side in items[0]}

    def batch(self, picks: Sequence[tuple[int, Row, bool]]) -> dict[str, Any]:
        rows = [{name: t for name, t in row.items() if name != "images"} for _, row, _ in picks]
        inputs = stack(_completed(rows), {"input_ids": self.padding, "labels": IGNORED}, "right")
        labels = F.pad(inputs.pop("labels")[:, 1:], (0, 1), value=IGNORED)
        for place, (_, _, muted) in enumerate(picks):
            if muted:
                labels[place] = IGNORED
        keep = torch.arange(labels.shape[1])
        if not self.whole_sequence:
            scored = (labels != IGNORED).any(0)
            scored[0] |= not scored.any()  # a batch of padding rows still runs, for the other processes
            keep = scored.nonzero().squeeze(1)
        index = torch.tensor([index for index, _, _ in picks])
        padding = inputs["input_ids"].numel() - sum(row["input_ids"].numel() for row in rows)
        numbered = {"images": [n for _, row, _ in picks for n in row["images"]]} if "images" in picks[0][1] else {}
        if self.image_token is not None:
            numbered[RUNS] = runs((row["input_ids"] for row in rows), self.image_token)
        return {"labels": labels[:, keep], "keep": keep, "index": index, "padding": padding, **numbered, **inputs}


CONTEXT = 3
"""Tokens before an answer that tell it from the same words elsewhere; images never stand that close."""


def _common(one: Sequence[int], other: Sequence[int]) -> int:
    """Length of the longest common prefix."""
    pairs = zip(one, other, strict=False)
    return next((n for n, (a, b) in enumerate(pairs) if a != b), min(len(one), len(other)))


def _find(pattern: Sequence[int], tokens: Sequence[int], start: int) -> int:
    """Where the pattern begins, at or after `start`; -1 if nowhere."""
    places = range(start, len(tokens) - len(pattern) + 1)
    return next((n for n in places if list(tokens[n : n + len(pattern)]) == list(pattern)), -1)


def _completed(rows: Sequence[Row]) -> list[Row]:
    """Zeros for a token tensor that only other rows have: it says what a token sees of images, here nothing."""
    like = {name: t for row in rows for name, t in row.items() if by_token(t, row["input_ids"])}
    return [
        row | {k: t.new_zeros(row["input_ids"].shape + t.shape[2:]) for k, t in like.items() if k not in row}
        for row in rows
    ]


def require_template(processor: ProcessorMixin) -> None:
    """Raises UserError."""
    if not processor.chat_template:
        raise UserError("the processor has no chat template; add a chat_template.jinja to the model folder.")


def as_messages(sample: Sample) -> list[dict]:
    """The sample's turns in the form of Transformers' chat templates."""
    messages = []
    for turn in sample.turns:
        image = [{"type": "image"}] if turn.image is not None else []
        messages += [
            {"role": "user", "content": [*image, {"type": "text", "text": turn.question}]},
            {"role": "assistant", "content": [{"type": "text", "text": turn.answer}]},
        ]
    return messages
