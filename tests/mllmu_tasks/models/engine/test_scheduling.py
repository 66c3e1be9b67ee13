"""Batches by rows or tokens, halved when memory does not suffice, prepared while the model works."""

import threading

import pytest
import torch
from asking import MIXED, ask, document

from mllmu_tasks.harness.hf import MllmuHf
from mllmu_tasks.models.engine import scheduling
from mllmu_tasks.models.engine.scheduling import Budget, budget_for, bytes_a_token


def made(folder, **arguments):
    return MllmuHf(**{"pretrained": str(folder), "device": "cpu", **arguments})


def watched(model, most=10**9):
    """Sizes of the batches that were answered; larger ones than `most` do not fit into memory."""
    answer, sizes = model.engine.answer, []

    def limited(batch):
        if len(batch.rows) > most:
            raise torch.OutOfMemoryError("too much")
        sizes.append(len(batch.rows))
        return answer(batch)

    model.engine.answer = limited
    return sizes


@pytest.mark.parametrize("batch_size", ["auto", 8, 5])
def test_out_of_memory_halves_the_batch_and_those_after_it(folders, batch_size):
    docs = [document(n, f"Who is number {n}?" + " Oslo" * n, images=n % 2) for n in range(40)]
    whole = ask(made(folders(), batch_size=2), docs)
    model = made(folders(), batch_size=batch_size)
    sizes = watched(model, most=3)
    assert ask(model, docs) == whole
    assert max(sizes) <= 3
    assert sum(sizes) == 40
    assert 1 <= model.engine.counts.batches_split <= 5  # halved until it fits, not once for every part
    assert model.engine.counts.questions == 40


def test_answers_before_the_memory_ran_out_are_kept(folders, own_cache, capsys):
    model = made(folders(), batch_size=2)
    answer, done = model.engine.answer, []

    def fails_later(batch):
        if len(done) == 2:
            raise torch.OutOfMemoryError("too much")
        done.append(batch)
        return answer(batch)

    model.engine.answer = fails_later
    with pytest.raises(SystemExit):
        ask(model, MIXED)
    assert "even alone" in capsys.readouterr().err
    (journal,) = (own_cache / "answers").iterdir()
    assert len(journal.read_text().splitlines()) == 4


def test_a_budget_of_tokens(folders, monkeypatch):
    """Few long prompts at once, many short ones."""
    monkeypatch.setattr(scheduling, "CPU_TOKENS", 400)
    model = made(folders(), batch_size="auto")
    docs = [document(n, f"Who is {n}?" + " Lima" * (60 if n < 6 else 0)) for n in range(30)]
    shapes, answer = [], model.engine.answer
    model.engine.answer = lambda batch: shapes.append((len(batch.rows), scheduling._width(batch))) or answer(batch)
    assert ask(model, docs) == ask(made(folders(), batch_size=1), docs)
    assert sum(rows for rows, _ in shapes) == 30
    assert all(rows * width <= 400 for rows, width in shapes)
    assert max(rows for rows, _ in shapes) > shapes[0][0] > 1
    assert shapes[0][1] == max(width for _, width in shapes)


def test_budgets():
    budget = Budget(rows=8, tokens=100)
    assert [budget.fits(rows, 20) for rows in (1, 5, 6)] == [True, True, False]
    assert budget.fits(1, 10**6)
    assert not budget.fits(9, 1)
    budget.shrink(rows=5, width=20)
    assert (budget.rows, budget.tokens) == (2, 40)
    budget.shrink(rows=1, width=20)
    assert budget.rows == 1


def test_auto_and_a_number(folders):
    model = made(folders()).engine.model
    assert budget_for(7, model, torch.device("cpu")) == Budget(7, None)
    assert budget_for("auto", model, torch.device("cpu")).tokens == scheduling.CPU_TOKENS
    text = model.config.get_text_config()
    keys_and_values = 2 * text.num_hidden_layers * text.hidden_size * 4
    assert bytes_a_token(model) > 2 * keys_and_values


def test_the_next_batch_is_prepared_beside_the_model(folders):
    """While one batch is answered, the next one is prepared by another thread."""
    model = made(folders(), batch_size=2)
    prepare, answer = model.engine.preparer.prepare, model.engine.answer
    prepared, waited = threading.Semaphore(0), []

    def preparing(*arguments):
        assert threading.current_thread() is not threading.main_thread()
        try:
            return prepare(*arguments)
        finally:
            prepared.release()

    def answering(batch):
        if len(waited) < 3:  # of four batches, three have one behind them
            waited.append(prepared.acquire(timeout=20))
        return answer(batch)

    model.engine.preparer.prepare, model.engine.answer = preparing, answering
    prepared.acquire(blocking=False)
    ask(model, [document(n, f"Number {n}?") for n in range(8)])
    assert waited == [True] * 3
