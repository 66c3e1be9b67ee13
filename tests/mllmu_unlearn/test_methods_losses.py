"""Losses of the field's methods against plain arithmetic on fixed logits: value, sign, no gradient where unscored."""

import math
from dataclasses import replace

import pytest
import torch
from fixed_logits import LABELS, answers, fixed, mean_nll, probability, side_of, sides_of, terms

from mllmu_tasks.errors import UserError
from mllmu_unlearn.methods import get, names
from mllmu_unlearn.methods._refusals import REFUSALS
from mllmu_unlearn.toolbox import losses
from mllmu_unlearn.toolbox.losses import IGNORED
from mllmu_unlearn.toolbox.side import Reference

NLL = mean_nll(fixed())
TOKENS = [p for row in answers(fixed()) for p in row]
PLACES = [(row, place) for row in range(2) for place in range(3) if LABELS[row, place] != IGNORED]


def log_sigmoid(x: float) -> float:
    return -math.log(1 + math.exp(-x))


def mean(values) -> float:
    values = list(values)
    return sum(values) / len(values)


def softmax(logits) -> list[float]:
    exponents = [math.exp(x) for x in logits]
    return [e / sum(exponents) for e in exponents]


def test_pdu_flattens_under_a_price():
    method = get("pdu")(epsilon=0.25, gamma=2.0, alpha=3.0)
    sides = sides_of(method, {"forget": 0, "retain": 1})
    made = method.terms(sides)
    margins = [(max(z) - sum(z) / len(z)) ** 2 for z in (fixed()[row, place].tolist() for row, place in PLACES)]
    violation = mean_nll(fixed(seed=1)) - 0.25
    assert made["forget"].item() == pytest.approx(2 * mean(margins))
    assert made["retain"].item() == pytest.approx(3 * violation)
    assert method.watched(sides)["violation"].item() == pytest.approx(violation)
    made["forget"].backward()
    assert sides["forget"].logits.grad[LABELS == IGNORED].abs().max() == 0
    assert losses.logit_margin(torch.zeros(1, 1, 4), torch.zeros(1, 1, dtype=torch.long)).item() == 0


def test_the_dual_variable_waits_and_stays_at_least_zero():
    from types import SimpleNamespace

    method = get("pdu")(epsilon=0.0, dual_step=0.5, dual_warmup=2.0)
    method.prepare(SimpleNamespace(steps_per_epoch=2))
    duals = []
    for violation in (1.0, 1.0, 1.0, 1.0, 1.0, 2.0, -9.0, 1.0):
        method.after_optimizer_step(lambda value=violation: {"violation": value})
        duals.append(method.dual)
    assert duals == [1.0, 1.0, 1.0, 1.0, 1.5, 2.5, 0.0, 0.5]
    again = get("pdu")(epsilon=0.0)
    again.load_state_dict(method.state_dict())
    assert (again.dual, again.steps) == (0.5, 8)
    with pytest.raises(UserError, match="pdu needs --epsilon"):
        get("pdu")()


LOSSES = [name for name in names() if get(name).trains]
FORGETTING = {"idk", "dpo", "altpo", "llmu", "pdu", "rmu", "smfa", "retain_finetune", "task_vector"}
"""Whose forget term is about something else than the likelihood of the forget answers; tested by themselves."""


def every_side(name: str):
    """(method, sides with logits of their own) of any registered method that trains on likelihoods."""
    method = get(name)(**({"epsilon": 0.1} if name == "pdu" else {}))
    sides = ("anchor", "idk_text", "keep_text") if name == "smfa" else method.sides
    sides = [side for side in sides if side != "biographies"]
    made = {}
    for seed, side in enumerate(sides):
        logits, hidden = fixed(requires_grad=True, seed=seed), {}
        reference = Reference(fixed(seed=seed + 10), losses.sequence_logprobs(fixed(seed=seed + 10), LABELS))
        if method.hidden_layers():
            method.target = torch.ones(4, dtype=torch.float64)
            hidden = dict.fromkeys(method.hidden_layers(), logits)
            reference = Reference(hidden=dict.fromkeys(method.hidden_layers(), fixed(seed=seed + 10)))
        made[side] = replace(side_of(logits, reference), hidden=hidden)
    return method, made


@pytest.mark.parametrize("name", LOSSES)
def test_every_loss_is_finite_in_float64_and_blind_to_unscored_positions(name):
    method, sides = every_side(name)
    terms = method.terms(sides)
    assert set(terms) <= set(sides)
    assert all(term.shape == () and torch.isfinite(term) for term in terms.values())
    torch.stack(list(terms.values())).sum().backward()
    moved = 0
    for side in sides.values():
        if side.logits.grad is not None:
            assert side.logits.grad.dtype is torch.float64
            assert side.logits.grad[LABELS == IGNORED].abs().max() == 0
            moved += side.logits.grad.abs().sum()
    assert moved > 0


@pytest.mark.parametrize("name", [name for name in LOSSES if name not in FORGETTING])
def test_every_forget_term_lowers_the_likelihood_of_the_answers(name):
    method, sides = every_side(name)
    method.terms(sides)["forget"].backward()
    logits = sides["forget"].logits
    after = losses.token_logprobs((logits - 1e-3 * logits.grad).detach(), LABELS).sum()
    assert after < losses.token_logprobs(logits.detach(), LABELS).sum()


@pytest.mark.parametrize("name", ["salun", "mmunlearner", "smfa"])
def test_masked_and_sculpted_methods_minimise_likelihoods(name):
    method, sides = every_side(name)
    made = {side: term.item() for side, term in method.terms(sides).items()}
    signs = {"forget": -1.0}
    expected = {side: signs.get(side, 1.0) * mean_nll(fixed(seed=seed)) for seed, side in enumerate(sides)}
    assert made == pytest.approx(expected)


@pytest.fixture(params=["simnpo", "undial", "wga", "satimp", "ceu", "scrub", "task_vector"])
def method(request):
    return request.param


def test_nothing_unscored_has_a_gradient(method):
    _, gradient = terms(method)
    assert gradient[LABELS == IGNORED].abs().max() == 0
    assert gradient.abs().sum() > 0


def test_one_step_down_the_gradient_forgets(method):
    """All but the task vector, which learns first and is negated at the end."""
    logits = fixed(requires_grad=True)
    sides = {"forget": sides_of(get("gradient_ascent")(), {"forget": 0})["forget"]}
    logits = sides["forget"].logits
    get(method)().forget(sides["forget"]).backward()
    after = losses.token_logprobs((logits - 1e-3 * logits.grad).detach(), LABELS).sum()
    before = losses.token_logprobs(fixed(), LABELS).sum()
    assert (after < before) == (method != "task_vector")


def test_simnpo():
    made, _ = terms("simnpo", beta=2.0, delta=0.5, gamma=0.25, alpha=3.0)
    nlls = [-sum(row) / len(row) for row in answers(fixed())]
    forget = mean(-(2 / 2.0) * log_sigmoid(2.0 * (nll - 0.5)) for nll in nlls)
    assert made == pytest.approx({"forget": 0.25 * forget, "retain": 3 * NLL})


def test_undial_target_is_the_start_model_with_the_true_logit_lowered():
    made, _ = terms("undial", beta=4.0)
    expected = []
    for row, place in PLACES:
        reference, token = fixed(seed=1)[row, place].tolist(), int(LABELS[row, place])
        reference[token] -= 4.0
        target = softmax(reference)
        expected.append(-sum(q * math.log(probability(fixed(), row, place, v)) for v, q in enumerate(target)))
    assert made == pytest.approx({"forget": mean(expected)})


def test_wga_and_satimp_weigh_tokens():
    made, _ = terms("wga", beta=2.0)
    assert made["forget"] == pytest.approx(mean(math.exp(p) ** 2 * p for p in TOKENS))
    made, _ = terms("satimp", beta1=3.0, beta2=0.5, gamma=1.0)
    assert made["forget"] == pytest.approx(mean(math.exp(p) ** 3 * (1 - math.exp(p)) ** 0.5 * p for p in TOKENS))


def test_weights_have_no_gradient():
    _, gradient = terms("wga", beta=1.0, gamma=1.0, alpha=0.0)
    row, place = PLACES[0]
    token = int(LABELS[row, place])
    p = probability(fixed(), row, place, token)
    assert gradient[row, place, token].item() == pytest.approx(p * (1 - p) / len(TOKENS))


@pytest.mark.parametrize("skip", [0, 1])
def test_ceu_leaves_out_the_true_token_and_the_first_ones(skip):
    made, gradient = terms("ceu", skip=skip)
    places = PLACES if skip == 0 else [(0, 1)]
    expected = []
    for row, place in places:
        token = int(LABELS[row, place])
        others = fixed()[row, place].tolist()
        others[token] = -math.inf
        target = softmax(others)
        expected.append(-sum(q * math.log(probability(fixed(), row, place, v)) for v, q in enumerate(target) if q))
    assert made["forget"] == pytest.approx(mean(expected))
    assert (gradient[0, 0].abs().max() > 0) == (skip == 0)


def test_ceu_skips_none_or_one():
    with pytest.raises(UserError, match="--skip is 0 or 1, not 2"):
        get("ceu")(skip=2)


def test_scrub():
    made, _ = terms("scrub", beta=2.0, alpha=0.5, gamma=3.0)
    divergence = losses.kl(fixed(seed=1), fixed(), LABELS).sum().item() / 3
    assert made == pytest.approx({"forget": -2 * divergence, "retain": 0.5 * divergence + 3 * NLL})


def test_scrub_is_still_at_the_start():
    logits = fixed(requires_grad=True)
    losses.kl(fixed(), logits, LABELS).sum().backward()
    assert logits.grad.abs().max() == pytest.approx(0, abs=1e-12)


@pytest.mark.parametrize(("name", "other"), [("dpo", "idk"), ("altpo", "alternate")])
def test_preference_of_another_answer(name, other):
    method = get(name)(beta=0.4, gamma=2.0, alpha=0.5)
    sides = sides_of(method, {"forget": 0, other: 2, "retain": 3})
    made = method.terms(sides)

    def gains(seed: int) -> list[float]:
        mine, reference = fixed(seed=seed), fixed(seed=seed + 10)
        return (losses.sequence_logprobs(mine, LABELS) - losses.sequence_logprobs(reference, LABELS)).tolist()

    expected = mean(-(2 / 0.4) * log_sigmoid(0.4 * (a - b)) for a, b in zip(gains(2), gains(0), strict=True))
    assert made["forget"].item() == pytest.approx(2 * expected)
    assert made["retain"].item() == pytest.approx(0.5 * mean_nll(fixed(seed=3)))
    made["forget"].backward()
    true = torch.zeros_like(fixed()).scatter_(-1, LABELS.clamp(min=0)[..., None], 1.0) * (LABELS != IGNORED)[..., None]
    assert (sides["forget"].logits.grad * true).sum() > 0  # descent lowers the answer to forget
    assert (sides[other].logits.grad * true).sum() < 0  # and raises the other one


@pytest.mark.parametrize(("name", "weights"), [("idk", {"idk": 2.0, "retain": 0.5}), ("llmu", {"idk": 2.0})])
def test_refusals_are_learnt(name, weights):
    method = get(name)(**({"gamma": 2.0, "alpha": 0.5} if name == "idk" else {"delta": 2.0}))
    sides = sides_of(method, {side: n for n, side in enumerate(method.sides)})
    made = method.terms(sides)
    for side, weight in weights.items():
        assert made[side].item() == pytest.approx(weight * mean_nll(fixed(seed=method.sides.index(side))))
    if name == "llmu":
        assert made["forget"].item() == pytest.approx(-NLL)
        assert made["retain"].item() == pytest.approx(losses.kl(fixed(seed=12), fixed(seed=2), LABELS).sum().item() / 3)


def test_refusals_keep_the_question_and_their_seed():
    from mllmu_unlearn.toolbox.samples import Sample, Turn

    forget = [Sample("001", (Turn("Where?", f"In {n}."),), "biography") for n in range(20)]
    (made,) = get("idk")().extra_sides(forget).values()
    assert [s.question for s in made] == [s.question for s in forget]
    assert {s.answer for s in made} <= set(REFUSALS)
    assert len({s.answer for s in made}) > 2
    assert get("idk")().extra_sides(forget)["idk"] == made
    assert get("idk")(refusal_seed=1).extra_sides(forget)["idk"] != made


def test_alternates_come_from_the_file(tmp_path):
    from mllmu_unlearn.toolbox.samples import Sample, Turn

    forget = [Sample("001", (Turn("Where?", "In Oslo."),), "biography")]
    file = tmp_path / "alternates.jsonl"
    file.write_text('{"person": "001", "question": "Where?", "answer": "In Lima."}\n')
    (made,) = get("altpo")(alternates=str(file)).extra_sides(forget)["alternate"]
    assert (made.question, made.answer) == ("Where?", "In Lima.")
    with pytest.raises(UserError, match="needs --alternates FILE"):
        get("altpo")().extra_sides(forget)
    with pytest.raises(UserError, match=r"no other answer for person '002', 'Where\?'"):
        get("altpo")(alternates=str(file)).extra_sides([Sample("002", forget[0].turns, "biography")])
    file.write_text("[1]\n")
    with pytest.raises(UserError, match="line 1: wanted person, question and answer"):
        get("altpo")(alternates=str(file)).extra_sides(forget)
    with pytest.raises(UserError, match=r"alternates .*none' cannot be read"):
        get("altpo")(alternates=str(tmp_path / "none")).extra_sides(forget)
    file.write_bytes(b"PAR1\x15\x80\xff")
    with pytest.raises(UserError, match=r"alternates .* is no text in UTF-8"):
        get("altpo")(alternates=str(file)).extra_sides(forget)


def test_a_task_vector_is_negated_exactly():
    from types import SimpleNamespace

    weights = torch.nn.ModuleDict({"lora_A": torch.nn.Linear(3, 2, bias=False), "lora_B": torch.nn.Linear(2, 3)})
    a, b = (weights[name].weight.detach().clone() for name in ("lora_A", "lora_B"))
    get("task_vector")(scale=0.5).finish(SimpleNamespace(model=weights))
    assert torch.equal(weights["lora_A"].weight, a)
    assert torch.equal(weights["lora_B"].weight, -0.5 * b)


def test_rmu_aims_at_a_random_direction_and_keeps_the_rest():
    from types import SimpleNamespace

    from mllmu_unlearn.toolbox.side import Counts, Reference, Side

    text = SimpleNamespace(get_text_config=lambda: SimpleNamespace(hidden_size=5))
    context = SimpleNamespace(model=SimpleNamespace(config=text), seed=3)
    method = get("rmu")(steering=2.0, gamma=3.0, alpha=0.5)
    method.prepare(context)
    assert method.target.norm().item() == pytest.approx(2.0)
    assert (method.target >= 0).all()
    one, other = (torch.randn(2, 3, 5, generator=torch.Generator().manual_seed(seed)) for seed in (0, 1))
    counts = Counts(torch.tensor(3), torch.tensor(2), torch.tensor(1))
    reference = Reference(hidden={method.layer: other})
    side = Side(fixed(), LABELS, counts, reference, {method.layer: one.requires_grad_()})
    places = [(one[row, place], other[row, place]) for row, place in PLACES]
    forget = mean(((h - method.target) ** 2).mean().item() for h, _ in places)
    retain = mean(((h - kept) ** 2).mean().item() for h, kept in places)
    made = method.terms({"forget": side, "retain": side})
    assert {k: v.item() for k, v in made.items()} == pytest.approx({"forget": 3 * forget, "retain": 0.5 * retain})
    torch.stack(list(made.values())).sum().backward()
    assert one.grad[LABELS == IGNORED].abs().max() == 0
