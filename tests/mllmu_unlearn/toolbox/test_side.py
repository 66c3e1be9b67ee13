"""Reductions: micro-batches with global counts add up to one big batch."""

import pytest
import torch

from mllmu_unlearn.methods._supervised import Supervised
from mllmu_unlearn.toolbox import losses
from mllmu_unlearn.toolbox.losses import IGNORED
from mllmu_unlearn.toolbox.side import Counts, Reference, Side

LABELS = torch.tensor([[0, 2, 3], [1, IGNORED, IGNORED], [IGNORED] * 3, [3, 0, IGNORED]])
LOGITS = torch.randn(4, 3, 5, generator=torch.Generator().manual_seed(3), dtype=torch.float64)
COUNTS = Counts(torch.tensor(6), torch.tensor(3), torch.tensor(2))


def part(rows: slice, by_batch: bool = False) -> Side:
    reference = Reference(logits=LOGITS.flip(-1)[rows])
    return Side(LOGITS[rows], LABELS[rows], COUNTS, reference, by_batch=by_batch)


def test_micro_batches_add_up():
    whole = part(slice(None))
    parts = [part(slice(0, 1)), part(slice(1, 4))]
    for reduce in (Side.nll, Side.kl, lambda side: side.sequence_mean(side.sequence_logprobs)):
        assert sum(reduce(p) for p in parts).item() == pytest.approx(reduce(whole).item(), abs=1e-12)


def test_means_are_over_scored_tokens_and_rows_only():
    side = part(slice(None))
    logprobs = losses.token_logprobs(LOGITS, LABELS)
    assert side.nll().item() == pytest.approx(-logprobs.sum().item() / 6)
    assert side.sequence_mean(torch.tensor([1.0, 2.0, 100.0, 3.0])).item() == 2.0


def test_official_means_are_means_of_micro_batch_means():
    parts = [part(slice(0, 1), by_batch=True), part(slice(1, 4), by_batch=True)]
    each = [-losses.token_logprobs(LOGITS[s], LABELS[s]).sum().item() / 3 for s in (slice(0, 1), slice(1, 4))]
    assert sum(p.nll() for p in parts).item() == pytest.approx(sum(each) / 2)


def test_a_batch_without_labels_weighs_nothing():
    for by_batch in (False, True):
        side = part(slice(2, 3), by_batch=by_batch)
        assert side.nll().item() == 0
        assert side.kl().item() == 0
        assert side.sequence_mean(side.sequence_logprobs).item() == 0


def test_supervision_by_tokens_and_by_answers():
    logprobs = losses.token_logprobs(LOGITS, LABELS).sum(-1)
    answers = -(logprobs[0] / 3 + logprobs[1] + logprobs[3] / 2).item() / 3
    assert Supervised("answers").train(part(slice(None))).item() == pytest.approx(answers)
    assert Supervised().train(part(slice(None))).item() == pytest.approx(-logprobs.sum().item() / 6)
