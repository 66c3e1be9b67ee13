"""Which questions are answered together, how many at once, and what is prepared meanwhile."""

from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import torch
from loguru import logger

from mllmu_tasks.errors import UserError
from mllmu_tasks.models.engine.engine import Engine
from mllmu_tasks.models.engine.prefix import Prefix
from mllmu_tasks.models.engine.preparing import Batch
from mllmu_tasks.models.prompt import Prompt

AUTO = "auto"
MOST_ROWS = 256
CPU_TOKENS = 16384  # more rows no longer speed up a CPU
FREE_SHARE = 0.8
LETTER_TOKENS = 4

Asked = Mapping[str, tuple[int, Prompt]]
"""By key: a prompt and its length in tokens, images unfolded."""


@dataclass
class Budget:
    """rows: at most in a batch. tokens: of prompts and answers, padding included; None: any number."""

    rows: int
    tokens: int | None = None

    def fits(self, rows: int, width: int) -> bool:
        """width: tokens of the longest prompt and its answer. A single row always does."""
        return rows == 1 or (rows <= self.rows and (self.tokens is None or rows * width <= self.tokens))

    def shrink(self, rows: int, width: int) -> None:
        """After a batch of this shape did not fit."""
        self.rows = min(self.rows, max(1, rows // 2))
        if self.tokens is not None:
            self.tokens = min(self.tokens, max(1, rows // 2) * width)


def budget_for(batch_size: int | str, model: Any, device: torch.device) -> Budget:
    """A number: so many rows. `auto`: as many tokens as free memory holds keys, values and activations of."""
    if batch_size != AUTO:
        return Budget(int(batch_size))
    if device.type != "cuda":
        return Budget(MOST_ROWS, CPU_TOKENS)
    free, _ = torch.cuda.mem_get_info(device)
    return Budget(MOST_ROWS, int(free * FREE_SHARE) // bytes_a_token(model))


def bytes_a_token(model: Any) -> int:
    """Twice its keys and values (a growing cache is copied), and one layer's activations."""
    config = model.config.get_text_config()
    heads = getattr(config, "num_key_value_heads", None) or config.num_attention_heads
    head = getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads
    numbers = 4 * config.num_hidden_layers * heads * head + 8 * config.hidden_size + 4 * config.intermediate_size
    return numbers * model.dtype.itemsize


def answers(engine: Engine, asked: Asked, budget: Budget) -> Iterator[tuple[list[str], list[str]]]:
    """(keys, answers) batch by batch; while the model works on one, a thread prepares the next.

    Raises UserError naming a question that cannot be answered. A batch that does not fit into memory is halved,
    and so is what comes after it; answers given before stay given.
    """
    batches = _batches(engine, asked, budget)
    with ThreadPoolExecutor(1) as beside:
        coming = beside.submit(next, batches, None)
        while (now := coming.result()) is not None:
            coming = beside.submit(next, batches, None)
            yield from _answer(engine, *now, budget)


def _answer(engine: Engine, keys: list[str], batch: Batch, budget: Budget) -> Iterator[tuple[list[str], list[str]]]:
    """A batch in as many parts as memory asks for."""
    done = 0
    while done < len(keys):
        part = slice(done, done + budget.rows)
        rows = Batch(batch.rows[part], batch.prefix)
        try:
            texts = engine.answer(rows)
        except torch.OutOfMemoryError as error:
            if len(rows.rows) == 1:
                raise UserError(
                    f"out of memory at {rows.rows[0].prompt.where}, even alone; show fewer examples with MLLMU_SHOTS "
                    "or MLLMU_SHOT_QUESTIONS, or use another device or dtype. The answers so far are kept: the same "
                    "command goes on from there."
                ) from error
        else:
            yield keys[part], texts
            done += len(texts)
            continue
        engine.counts.batches_split += 1  # outside of `except`: the error held the failed batch's tensors
        budget.shrink(len(rows.rows), _width(rows))
        logger.warning(f"mllmu_hf: out of memory with {len(rows.rows)} questions at once; going on with {budget.rows}.")
        if engine.device.type == "cuda":
            torch.cuda.empty_cache()


def _width(batch: Batch) -> int:
    shared = batch.prefix.ids.shape[1] if batch.prefix else 0
    longest = max(row.row["input_ids"].shape[1] for row in batch.rows)
    return shared + longest + _answer_tokens(batch.rows[0].prompt)


def _answer_tokens(prompt: Prompt) -> int:
    """To be expected at most; a letter is mostly one token."""
    return LETTER_TOKENS if prompt.reading.short else prompt.answer_tokens


def _batches(engine: Engine, asked: Asked, budget: Budget) -> Iterator[tuple[list[str], Batch]]:
    """Prepared batches of equal settings, longest first: what does not fit into memory shows at once.

    The prompts of a leaf that share a beginning worth keeping come together, with that beginning; all others are
    mixed across leaves, those with images apart where questions about the same images share their computation.
    """
    leaves: dict[tuple, list[str]] = {}
    for key, (_, prompt) in asked.items():
        leaves.setdefault((repr(prompt.settings), prompt.reading.short, prompt.leaf), []).append(key)
    others: dict[tuple, list[str]] = {}
    for (*group, _), keys in leaves.items():
        prefix = engine.preparer.shared([asked[key][1] for key in keys])
        if prefix is None:
            for key in keys:
                images = engine.preparer.shares and bool(asked[key][1].images)
                others.setdefault((*group, images), []).append(key)
        else:
            yield from _chunks(engine, keys, asked, budget, prefix)
        del prefix  # its keys and values last as long as its batches
    for keys in others.values():
        yield from _chunks(engine, keys, asked, budget, None)


def _in_order(keys: Sequence[str], asked: Asked, together: bool) -> list[str]:
    """Longest first; with `together`, questions about the same images side by side, in the place of their longest."""
    if not together:
        return sorted(keys, key=lambda key: asked[key][0], reverse=True)
    longest: dict[tuple, int] = {}
    for key in keys:
        length, prompt = asked[key]
        longest[prompt.images] = max(length, longest.get(prompt.images, 0))
    return sorted(
        keys, key=lambda key: (longest[asked[key][1].images], asked[key][1].images, asked[key][0]), reverse=True
    )


def _chunks(
    engine: Engine, keys: Sequence[str], asked: Asked, budget: Budget, prefix: Prefix | None
) -> Iterator[tuple[list[str], Batch]]:
    waiting = _in_order(keys, asked, engine.preparer.shares)
    while waiting:
        width = max(asked[key][0] for key in waiting[: budget.rows]) + _answer_tokens(asked[waiting[0]][1])
        rows = next(n for n in range(min(len(waiting), budget.rows), 0, -1) if budget.fits(n, width))
        chosen, waiting = waiting[:rows], waiting[rows:]
        yield chosen, engine.preparer.prepare([asked[key][1] for key in chosen], prefix)
