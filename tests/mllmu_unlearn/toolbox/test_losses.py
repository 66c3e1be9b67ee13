"""Losses on fixed logits in float64: closed forms, orientation, no gradient where nothing is scored."""

import math

import pytest
import torch
from fixed_logits import LABELS, answers, fixed, mean_nll, probability, side_of, terms

from mllmu_unlearn.methods import get
from mllmu_unlearn.toolbox import losses
from mllmu_unlearn.toolbox.losses import IGNORED
from mllmu_unlearn.toolbox.side import Reference


def test_token_logprobs_are_log_probabilities_and_zero_where_unscored():
    logits = fixed()
    got = losses.token_logprobs(logits, LABELS)
    expected = [p for row in answers(logits) for p in row]
    assert got[LABELS != IGNORED].tolist() == pytest.approx(expected, abs=1e-12)
    assert got[LABELS == IGNORED].tolist() == [0, 0, 0]


def test_sequence_logprobs_are_sums():
    logits = fixed()
    expected = [sum(row) for row in answers(logits)]
    assert losses.sequence_logprobs(logits, LABELS).tolist() == pytest.approx(expected, abs=1e-12)


def test_half_precision_is_widened():
    assert losses.token_logprobs(fixed().to(torch.bfloat16), LABELS).dtype is torch.float32


def test_kl_is_reference_against_theta():
    reference, logits = fixed(seed=1), fixed()
    got = losses.kl(reference, logits, LABELS)
    expected = 0.0
    for token in range(4):
        p, q = probability(reference, 0, 1, token), probability(logits, 0, 1, token)
        expected += p * math.log(p / q)
    assert got[0, 1].item() == pytest.approx(expected, abs=1e-12)
    assert got[0, 2].item() == 0
    assert losses.kl(logits, logits, LABELS).abs().max().item() == pytest.approx(0, abs=1e-12)
    assert (losses.kl(reference, logits) > 0).all()


def test_npo_closed_form_and_limits():
    logp, ref = torch.tensor([-3.0, -1.0]), torch.tensor([-1.0, -1.0])
    expected = [-(2 / 0.5) * math.log(1 / (1 + math.exp(0.5 * (a - b)))) for a, b in ((-3, -1), (-1, -1))]
    assert losses.npo(logp, ref, 0.5).tolist() == pytest.approx(expected, rel=1e-6)
    assert expected[1] == pytest.approx((2 / 0.5) * math.log(2))
    assert losses.npo(torch.tensor([-900.0]), ref[:1], 0.5).item() == pytest.approx(0, abs=1e-12)


def test_npo_gradient_tends_to_gradient_ascent():
    logp = torch.tensor([-3.0], dtype=torch.float64, requires_grad=True)
    losses.npo(logp, torch.tensor([-1.0], dtype=torch.float64), 1e-7).backward()
    assert logp.grad.item() == pytest.approx(1.0, abs=1e-5)


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("gradient_ascent", {"forget": -1.0}),
        ("grad_diff", {"forget": -2.0, "retain": 0.5}),
        ("retain_finetune", {"retain": 1.0}),
    ],
)
def test_likelihood_methods(name, expected):
    hyper = {"gamma": 2.0, "alpha": 0.5} if name == "grad_diff" else {}
    made, gradient = terms(name, **hyper)
    nll = mean_nll(fixed())
    assert made == pytest.approx({side: weight * nll for side, weight in expected.items()})
    assert gradient[LABELS == IGNORED].abs().max() == 0
    assert gradient[LABELS != IGNORED].abs().sum() > 0


def test_kl_min():
    made, gradient = terms("kl_min", alpha=3.0)
    divergence = losses.kl(fixed(seed=1), fixed(), LABELS).sum().item() / 3
    assert made == pytest.approx({"forget": -mean_nll(fixed()), "retain": 3 * divergence})
    assert gradient[LABELS == IGNORED].abs().max() == 0


def test_kl_min_official_divides_by_rows_and_counts_every_position():
    made, gradient = terms("kl_min", official=True)
    divergence = losses.kl(fixed(seed=1), fixed()).sum().item() / 2
    assert made["retain"] == pytest.approx(mean_nll(fixed()) + divergence)
    assert gradient[LABELS == IGNORED].abs().min() > 0


def test_npo_uses_sequence_sums():
    made, gradient = terms("npo", beta=0.3)
    values = [
        -(2 / 0.3) * math.log(1 / (1 + math.exp(0.3 * (sum(a) - sum(b)))))
        for a, b in zip(answers(fixed()), answers(fixed(seed=1)), strict=True)
    ]
    assert made == pytest.approx({"forget": sum(values) / 2, "retain": mean_nll(fixed())})
    assert gradient[LABELS == IGNORED].abs().max() == 0


def test_npo_official_uses_the_batch_mean_and_no_retain():
    made, _ = terms("npo", official=True)
    difference = -mean_nll(fixed()) + mean_nll(fixed(seed=1))
    assert made["forget"] == pytest.approx(-(2 / 0.4) * math.log(1 / (1 + math.exp(0.4 * difference))))
    assert made["retain"] == 0


@pytest.mark.parametrize("name", ["gradient_ascent", "grad_diff", "kl_min", "npo"])
def test_a_step_along_the_loss_lowers_the_forget_likelihood(name):
    method = get(name)()
    logits = fixed(requires_grad=True)
    given = Reference(fixed(seed=1), losses.sequence_logprobs(fixed(seed=1), LABELS))
    method.forget(side_of(logits, given)).backward()
    after = logits.detach() - 0.1 * logits.grad
    before = losses.sequence_logprobs(logits, LABELS).sum()
    assert losses.sequence_logprobs(after, LABELS).sum() < before
