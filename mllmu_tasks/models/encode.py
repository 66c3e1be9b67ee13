"""A conversation, and the answers to learn -> the tensors and labels that a model takes."""

from collections.abc import Iterable, Sequence
from itertools import takewhile
from typing import Any

import torch
from PIL.Image import Image

from mllmu_tasks.errors import UserError
from mllmu_tasks.models.batching import Row, by_token
from mllmu_tasks.models.chat_template import ChatTemplate

IGNORED = -100
"""The label of a token that no loss looks at."""
CONTEXT = 3
"""Tokens before an answer that tell it from the same words elsewhere; images never stand that close."""


def encode(processor: Any, text: str, images: Sequence[Image], **more: Any) -> Row:
    """Tensors of one text with its images, (1, ...). more: what else this processor takes."""
    made = processor(
        text=[text],
        images=[list(images)] if images else None,
        add_special_tokens=_tokenizer_adds(processor.tokenizer, text),
        return_tensors="pt",
        **more,
    )
    return dict(made)


def tokens_of(processor: Any, text: str) -> list[int]:
    """Of a text whose images are not unfolded."""
    tokenizer = processor.tokenizer
    return tokenizer(text, add_special_tokens=_tokenizer_adds(tokenizer, text))["input_ids"]


def _tokenizer_adds(tokenizer: Any, text: str) -> bool:
    """Whether the tokenizer has to add its special tokens: not if the chat template wrote the BOS already."""
    return not (tokenizer.bos_token and text.startswith(tokenizer.bos_token))


def padding_id(tokenizer: Any) -> int:
    """The padding token, or the end token where a tokenizer has none (padding is masked either way)."""
    return tokenizer.eos_token_id if tokenizer.pad_token_id is None else tokenizer.pad_token_id


def stop_tokens(processor: Any, generation: Any) -> frozenset[int]:
    """Ids that end an answer. generation: the model's generation config, or None. Raises UserError if the tokenizer has
    no end-of-sequence token."""
    if processor.tokenizer.eos_token_id is None:
        raise UserError("the tokenizer has no eos_token; set one in its tokenizer_config.json.")
    also = generation.eos_token_id if generation is not None else None
    also = [also] if isinstance(also, int) else also or []
    return frozenset([processor.tokenizer.eos_token_id, *also])


class AnswerEncoder:
    """Conversations in the chat rendering, their answers labelled.

    processor: with a chat template, else UserError. stops: ids that end an answer.
    """

    def __init__(self, processor: Any, stops: Iterable[int]) -> None:
        self.processor, self.chat, self.stops = processor, ChatTemplate(processor), frozenset(stops)

    def __call__(self, messages: Sequence[dict], images: Sequence[Image], where: str, learnt: int = 1) -> Row:
        """Processor tensors (1, ...) and labels (1, T): the tokens and the stop token of the last `learnt` answers,
        IGNORED everywhere else.

        messages: user and assistant in turn, an answer last. where: whose it is. Raises UserError if the template
        keeps something back or an answer cannot be located.
        """
        row = self._with_last_answer(messages, images, where)
        if learnt > 1:
            self._label_earlier(messages, row, where, learnt)
        return row

    def _with_last_answer(self, messages: Sequence[dict], images: Sequence[Image], where: str) -> Row:
        prompt, text = self.chat(messages[:-1], where), self.chat.answered(messages, where)
        _, answer = self._answer(prompt, text)
        if not self.stops & set(answer):
            text = text.rstrip() + self.processor.tokenizer.eos_token
            _, answer = self._answer(prompt, text)
        ends = [place for place, token in enumerate(answer) if token in self.stops]
        if not ends or ends[0] == 0:
            raise UserError(f"{where}: the chat template hides the answer '{said(messages)}'.")
        row = encode(self.processor, text, images)
        ids = row["input_ids"]
        if ids[0, -len(answer) :].tolist() != answer:
            raise UserError(f"{where}: the processor changes the answer '{said(messages)}'.")
        length = ids.shape[1]
        row["labels"] = torch.full_like(ids, IGNORED)
        row["labels"][0, -len(answer) :] = ids[0, -len(answer) :]
        beyond = len(answer) - ends[0] - 1  # what the template writes after the stop token
        return {key: t[:, : length - beyond] if by_token(t, ids) else t for key, t in row.items()}

    def _label_earlier(self, messages: Sequence[dict], row: Row, where: str, learnt: int) -> None:
        """Labels on the other learnt answers, found in order: the processor is too slow to ask for each turn."""
        ids, place, turns = row["input_ids"][0].tolist(), 0, len(messages) // 2
        for turn in range(turns - 1):
            asked, given = messages[: 2 * turn + 1], messages[: 2 * turn + 2]
            before, answer = self._answer(self.chat(asked, where), self.chat.answered(given, where))
            end = next((n for n, token in enumerate(answer, 1) if token in self.stops), len(answer))
            before = before[-CONTEXT:]
            place = _find([*before, *answer[:end]], ids, place)
            if place < 0:
                raise UserError(f"{where}: the chat template hides the answer '{said(given)}' when more turns follow.")
            begin, place = place + len(before), place + len(before) + end
            if turn >= turns - learnt:
                row["labels"][0, begin:place] = row["input_ids"][0, begin:place]

    def _answer(self, prompt: str, text: str) -> tuple[list[int], list[int]]:
        """The tokens of `text`: the longest beginning that it shares with `prompt`, and what follows."""
        before, whole = tokens_of(self.processor, prompt), tokens_of(self.processor, text)
        shared = sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], zip(before, whole, strict=False)))
        return whole[:shared], whole[shared:]


def said(messages: Sequence[dict]) -> str:
    """The last text of a conversation."""
    return messages[-1]["content"][-1]["text"]


def _find(pattern: Sequence[int], tokens: Sequence[int], start: int) -> int:
    """Where the pattern begins, at or after `start`; -1 if nowhere."""
    places = range(start, len(tokens) - len(pattern) + 1)
    return next((n for n in places if list(tokens[n : n + len(pattern)]) == list(pattern)), -1)
