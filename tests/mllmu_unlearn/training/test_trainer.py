"""The trainer: accumulation, resumption, phases, logging, and everything a method may ask of it."""

import copy
from dataclasses import dataclass
from pathlib import Path

import pytest
import torch
from transformers import TrainerCallback, set_seed

from mllmu_tasks.data.source import open_source
from mllmu_tasks.errors import UserError
from mllmu_unlearn import methods
from mllmu_unlearn.config.commands import UnlearnConfig
from mllmu_unlearn.methods import Method
from mllmu_unlearn.toolbox.adapter_sites import Lora, add_lora
from mllmu_unlearn.training.checkpoints import checkpoints
from mllmu_unlearn.training.collator import Collator
from mllmu_unlearn.training.encoders import encoder_for
from mllmu_unlearn.training.hidden_states import Hidden
from mllmu_unlearn.training.people import choose_people
from mllmu_unlearn.training.reference import AdapterOff, cache
from mllmu_unlearn.training.samples import Rows, TrainingSet
from mllmu_unlearn.training.schedule import Schedule
from mllmu_unlearn.training.trainer import MethodTrainer


class Recorder(TrainerCallback):
    """Gradients at every optimiser step, and what is logged."""

    def __init__(self) -> None:
        self.gradients, self.logs = [], []

    def on_pre_optimizer_step(self, args, state, control, model=None, **kwargs):
        self.gradients.append({n: p.grad.clone() for n, p in model.named_parameters() if p.grad is not None})

    def on_log(self, args, state, control, logs=None, **kwargs):
        self.logs.append(dict(logs))


@pytest.fixture
def build(tiny, data, tmp_path):
    """build(method, **options) -> (trainer, recorder) on the tiny LLaVA, with LoRA and float64 weights."""

    def make(method: Method | str, *, dropout=0.0, folder="run", dtype=torch.float64, official=False, **options):
        method = methods.get(method)() if isinstance(method, str) else method
        options = {
            "learning_rate": 1e-2,
            "num_train_epochs": 1,
            "save_strategy": "no",
            "logging_steps": 1,
            "disable_tqdm": True,
            "use_cpu": True,
            "max_grad_norm": 0.0,
            **options,
        }
        config = UnlearnConfig(
            output_dir=str(tmp_path / folder),
            model_name_or_path="tiny",
            method="grad_diff",
            forget_ratio=5,
            protocol="official" if official else "paper",
            **options,
        )
        source = open_source(str(data))
        training = TrainingSet(source, ("image", "text"))
        people = choose_people(source, 5, ())
        sides = {"forget": training.of(people.forget), "retain": training.of(people.retain)}
        sides = {name: sides[name] for name in method.sides if name in sides}
        extra = method.extra_sides(sides.get("forget", []))
        sides |= extra
        model, processor = copy.deepcopy(tiny[0]).to(dtype), tiny[1]
        encoder = encoder_for(model, processor, official)
        set_seed(config.seed)
        model = add_lora(model, Lora(r=2, dropout=dropout)).to(dtype)
        for name, parameter in model.named_parameters():
            if "lora_B" in name:  # away from the start, where many gradients are zero
                torch.nn.init.normal_(parameter, std=0.05)
        recorder = Recorder()
        wanted = method.official_references() if official else method.references()
        phases = method.official.phases if official else (tuple(sides),)
        trainer = MethodTrainer(
            model=model,
            args=config.for_trainer(config.output_dir),
            data_collator=Collator(0, official),
            processing_class=processor,
            method=method,
            rows=Rows(sides, encoder),
            schedule=Schedule(
                {s: len(v) for s, v in sides.items()},
                phases,
                config.per_device_train_batch_size,
                seed=0,
                aligned=dict.fromkeys(extra, "forget"),
                accumulate=config.gradient_accumulation_steps,
            ),
            references={side: AdapterOff(model, what) for side, what in wanted.items()},
            official=official,
            lr_per_epoch=official and method.official.lr_per_epoch,
            callbacks=[recorder],
        )
        return trainer, recorder

    return make


@pytest.mark.parametrize("name", ["grad_diff", "kl_min", "npo"])
def test_accumulated_micro_batches_equal_one_big_batch(build, name):
    results = []
    for batch, windows in ((6, 1), (2, 3)):
        trainer, recorder = build(
            name, per_device_train_batch_size=batch, gradient_accumulation_steps=windows, max_steps=2
        )
        trainer.train()
        results.append(recorder)
    for one, other in zip(results[0].gradients, results[1].gradients, strict=True):
        assert one.keys() == other.keys()
        assert all(torch.allclose(one[n], other[n], rtol=1e-9, atol=1e-12) for n in one)
    for one, other in zip(results[0].logs, results[1].logs, strict=True):
        for key in ("loss", "loss_forget", "loss_retain"):
            if key in one:
                assert one[key] == pytest.approx(other[key], rel=1e-5)


def test_terms_are_logged_apart_and_sum_to_the_loss(build):
    trainer, recorder = build("grad_diff", max_steps=3, logging_steps=2)
    trainer.train()
    entries = [log for log in recorder.logs if "loss" in log]
    assert [log["loss_forget"] < 0 < log["loss_retain"] for log in entries] == [True, True]
    for log in entries:
        assert log["loss"] == pytest.approx(log["loss_forget"] + log["loss_retain"], rel=1e-5)


def test_gradient_ascent_lowers_the_forget_likelihood(build):
    trainer, recorder = build("gradient_ascent", num_train_epochs=4)
    trainer.train()
    values = [log["loss_forget"] for log in recorder.logs if "loss_forget" in log]
    assert sum(values[-5:]) < sum(values[:5])  # five steps an epoch


def test_only_the_adapter_moves(build):
    trainer, _ = build("npo", max_steps=2)
    before = {n: p.detach().clone() for n, p in trainer.model.named_parameters()}
    trainer.train()
    moved = {n for n, p in trainer.model.named_parameters() if not torch.equal(p, before[n])}
    assert moved == {n for n in before if "lora_" in n}


def test_resumed_run_equals_uninterrupted_bit_for_bit(build):
    """With dropout, from the middle of the second epoch."""
    options = {"dropout": 0.1, "dtype": torch.float32, "num_train_epochs": 2, "save_strategy": "steps"}
    options |= {"save_steps": 7, "save_total_limit": None}
    whole, log = build("kl_min", folder="whole", **options)
    whole.train()
    assert whole.state.global_step == 10
    again, log_again = build("kl_min", folder="again", **options)
    again.train(resume_from_checkpoint=str(whole.args.output_dir) + "/checkpoint-7")
    losses = [entry["loss"] for entry in log.logs if "loss" in entry]
    assert [entry["loss"] for entry in log_again.logs if "loss" in entry] == losses[7:]
    for (name, one), other in zip(whole.model.named_parameters(), again.model.parameters(), strict=True):
        assert torch.equal(one, other), name


def test_official_epochs_are_a_forget_pass_then_a_retain_pass(build):
    trainer, recorder = build("grad_diff", official=True, num_train_epochs=2)
    trainer.train()
    entries = [log for log in recorder.logs if "loss" in log]
    forget = -(-len(trainer.train_dataset.sides["forget"]) // 4)
    retain = -(-len(trainer.train_dataset.sides["retain"]) // 4)
    epoch = ["loss_forget"] * forget + ["loss_retain"] * retain
    assert [next(k for k in log if k.startswith("loss_")) for log in entries] == epoch * 2
    rates = [log["learning_rate"] for log in entries]
    steps = forget + retain
    assert rates == pytest.approx([1e-2] * steps + [1e-2 * (1 - 1 / (2 * steps))] * steps)


def test_official_rate_of_a_single_pass_falls_every_step(build):
    trainer, recorder = build("gradient_ascent", official=True)
    trainer.train()
    rates = [log["learning_rate"] for log in recorder.logs if "loss" in log]
    assert rates == sorted(rates, reverse=True)
    assert len(set(rates)) == len(rates)


def test_a_loss_that_is_not_finite_stops_the_run(build):
    @dataclass
    class Broken(Method):
        sides = ("forget",)
        name = "broken"

        def forget(self, side):
            return side.nll() * float("nan")

    trainer, _ = build(Broken(), save_strategy="steps", save_steps=1, logging_steps=100)
    with pytest.raises(UserError, match="learning_rate"):
        trainer.train()
    assert checkpoints(Path(trainer.args.output_dir)) == []


def test_checkpoints_are_whole_limited_and_found_newest_last(build, tmp_path):
    trainer, _ = build("npo", max_steps=3, save_strategy="steps", save_steps=1, save_total_limit=2)
    trainer.train()
    folder = tmp_path / "run"
    assert [step for step, _ in checkpoints(folder)] == [2, 3]
    assert not list(folder.glob(".staging*"))
    (folder / "checkpoint-9").mkdir()  # as a killed writer without staging would leave it
    assert checkpoints(folder)[-1][0] == 3


def test_cached_reference_equals_the_live_one(build):
    trainer, _ = build("npo")
    rows, model = trainer.train_dataset, trainer.model
    picks = [(i, rows.row("forget", i), False) for i in range(6)]
    batches = [trainer.data_collator.batch(picks[:4]), trainer.data_collator.batch(picks[4:])]
    with model.disable_adapter():
        cached = cache(model, batches, 6, show=False)
    shuffled = trainer.data_collator.batch([picks[n] for n in (5, 0, 3)])
    live = AdapterOff(model, "logprobs")(shuffled)
    assert torch.allclose(cached(shuffled).logprobs, live.logprobs, atol=1e-10)
    assert not live.logprobs.requires_grad
    assert AdapterOff(model, "logits")(shuffled).logits.shape[:2] == shuffled["labels"].shape
    assert model.training  # as before


def test_interface_carries_extra_sides_hidden_states_masks_and_state(build):
    """What later methods need: a refusal side, hidden states, gradient masks, a multiplier."""

    @dataclass
    class Everything(Method):
        sides = ("forget", "retain")
        name = "everything"
        weight: float = 1.0

        def extra_sides(self, forget):
            return {"idk": forget}

        def hidden_layers(self):
            return (r"language_model\.layers\.1",)

        def terms(self, sides):
            self.shape = sides["forget"].hidden[self.hidden_layers()[0]].shape[:2]
            assert self.shape == sides["forget"].labels.shape
            difference = sides["idk"].sequence_logprobs - sides["forget"].sequence_logprobs
            assert torch.equal(difference, torch.zeros_like(difference))  # the same index on both sides
            return {"idk": sides["idk"].nll(), "retain": self.weight * sides["retain"].nll()}

        def before_optimizer_step(self, model):
            for name, parameter in model.named_parameters():
                if "layers.0" in name and parameter.grad is not None:
                    parameter.grad.zero_()

        def after_optimizer_step(self, means):
            self.weight += means()["retain"]

        def state_dict(self):
            return {"weight": self.weight}

        def load_state_dict(self, state):
            self.weight = state["weight"]

    method = Everything()
    trainer, _ = build(method, max_steps=2, save_strategy="steps", save_steps=2)
    before = {n: p.detach().clone() for n, p in trainer.model.named_parameters()}
    trainer.train()
    assert method.weight > 2
    still = [n for n, p in trainer.model.named_parameters() if "lora_" in n and torch.equal(p, before[n])]
    assert still
    assert all("layers.0" in n for n in still)
    saved = torch.load(checkpoints(Path(trainer.args.output_dir))[-1][1] / "method_state.pt", weights_only=True)
    assert saved == {"weight": method.weight}


def test_a_layer_pattern_must_fit_one_module(build):
    @dataclass
    class Lost(Method):
        name = "lost"

        def hidden_layers(self):
            return (r"no\.such\.layer",)

    with pytest.raises(UserError, match="fits 0 modules"):
        build(Lost())


def test_a_layer_that_does_not_run_is_told(tiny):
    hidden = Hidden(tiny[0], (r"vision_tower\.encoder\.layers\.0",))
    with pytest.raises(UserError, match=r"vision_tower.* does not run on these samples"), hidden.catch(torch.arange(2)):
        tiny[0](input_ids=torch.arange(6, 16).view(1, 10))
