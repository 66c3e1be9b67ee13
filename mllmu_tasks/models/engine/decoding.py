"""Greedy decoding in which an answer ends as soon as nothing more of it is read, and its row leaves the batch.

`generate` of Transformers prepares everything (masks, positions, cache, logits processors) by the model's own rules
and hands the loop over to us: `generate(custom_generate=Greedy(...))`.
"""

from collections.abc import Callable, Sequence
from typing import Any

import torch
from transformers import LogitsProcessorList, RepetitionPenaltyLogitsProcessor

from mllmu_tasks.errors import UserError

NOT_FINITE = (
    "the model's logits are NaN or infinite, so its answers would be noise; open it in another type (dtype=bfloat16 or "
    "float32), or fetch its weights again."
)
LEAVE = 4  # finished rows leave when they are a quarter of the batch: cutting the cache copies it


class Greedy:
    """The loop for one batch. Afterwards `answers` holds the tokens of each row, without the end token.

    over: (rows, their tokens so far) -> which of them are over; asked after every step, about open rows only.
    limit: tokens an answer may have.
    """

    def __init__(self, rows: int, limit: int, over: Callable[[Sequence[int], Sequence[list[int]]], Sequence[bool]]):
        self.answers: list[list[int]] = [[] for _ in range(rows)]
        self.limit, self.over = limit, over
        self.tokens = 0

    def __call__(
        self, model: Any, input_ids: torch.Tensor, logits_processor: Any, generation_config: Any, **state: Any
    ) -> torch.Tensor:
        """input_ids: (B, T). state: what the model's forward gets. Returns the prompt: `answers` is the result.

        Raises UserError for logits that are NaN or infinite: their best token is the first, again and again.
        """
        for unused in ("stopping_criteria", "synced_gpus", "streamer"):
            state.pop(unused, None)
        ends = set(_listed(generation_config.eos_token_id))
        prompt = input_ids
        live = list(range(input_ids.shape[0]))  # which row of the batch stands in which row of the tensors
        open_rows = set(live)
        processors, seen = for_leaving_rows(logits_processor), packed(input_ids, state.get("attention_mask"))
        outputs = model._prefill(input_ids, generation_config, state)
        while True:
            state = model._update_model_kwargs_for_generation(outputs, state, is_encoder_decoder=False)
            scores = processors(seen, outputs.logits[:, -1].to(torch.float32))
            del outputs
            chosen = torch.argmax(scores, dim=-1)
            if not bool(scores.gather(1, chosen[:, None]).isfinite().all()):
                raise UserError(NOT_FINITE)
            input_ids, seen = (torch.cat([tokens, chosen[:, None]], dim=1) for tokens in (input_ids, seen))
            self._take(live, open_rows, chosen.tolist(), ends)
            if not open_rows:
                return prompt
            if (len(live) - len(open_rows)) * LEAVE >= len(live):
                keep = [place for place, row in enumerate(live) if row in open_rows]
                live = [live[place] for place in keep]
                kept = torch.tensor(keep, device=input_ids.device)
                input_ids, seen = leave(input_ids, state, kept), seen[kept]
            inputs = model.prepare_inputs_for_generation(input_ids, next_sequence_length=1, **state)
            outputs = model(**inputs, return_dict=True)

    def _take(self, live: Sequence[int], open_rows: set[int], chosen: Sequence[int], ends: set[int]) -> None:
        """One token for every open row; those that are over are taken out of `open_rows`."""
        for row, token in zip(live, chosen, strict=True):
            if row in open_rows:
                self.tokens += 1
                if token in ends:
                    open_rows.discard(row)
                else:
                    self.answers[row].append(token)
        asked = sorted(open_rows)
        over = self.over(asked, [self.answers[row] for row in asked])
        full = [len(self.answers[row]) >= self.limit for row in asked]
        open_rows.difference_update(row for row, a, b in zip(asked, over, full, strict=True) if a or b)


def packed(input_ids: torch.Tensor, mask: torch.Tensor | None) -> torch.Tensor:
    """A batch's prompts (B, T) as processors of logits are to see them: without padding, wherever that stands.

    Each row's tokens stand together at its end; before them its first token is repeated, so that a row has seen
    nothing that it would not have seen alone.
    """
    if mask is None:
        return input_ids
    is_token, order = (mask != 0).int().sort(dim=1, stable=True)
    ids = input_ids.gather(1, order)
    return torch.where(is_token != 0, ids, ids.gather(1, is_token.argmax(dim=1, keepdim=True)))


def for_leaving_rows(processors: LogitsProcessorList) -> LogitsProcessorList:
    """Transformers' repetition penalty wants the rows that it was made for, with padding on their left."""
    return LogitsProcessorList(
        RepetitionPenaltyLogitsProcessor(each.penalty) if isinstance(each, RepetitionPenaltyLogitsProcessor) else each
        for each in processors
    )


def leave(input_ids: torch.Tensor, state: dict[str, Any], keep: torch.Tensor) -> torch.Tensor:
    """Only the rows `keep` of a batch: its tokens (B, T) are returned, `state` is changed in place.

    What has an entry a row and a token goes with them: masks and token types (B, T, ...), positions (B, T) or
    (axes, B, T). Image tensors stay: they were used up by the prefill.
    """
    rows, width = input_ids.shape
    for name, value in state.items():
        if not isinstance(value, torch.Tensor):
            continue
        if name == "position_ids" and value.ndim == 3:
            state[name] = value[:, keep]
        elif value.ndim >= 2 and value.shape[:2] == (rows, width):
            state[name] = value[keep]
    # Unlike `batch_select_indices`, it knows layers of every kind, and those on another device.
    state["cache" if "cache" in state else "past_key_values"].reorder_cache(keep)
    return input_ids[keep]


def _listed(tokens: int | Sequence[int] | None) -> list[int]:
    if tokens is None:
        return []
    return [tokens] if isinstance(tokens, int) else list(tokens)
