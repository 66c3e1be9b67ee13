"""Runs that end early: bounds on a loss, NaN, no memory; what is kept and what is said."""

from dataclasses import dataclass

import pytest
import torch
import yaml
from safetensors import SafetensorError
from safetensors.torch import load_file
from typer.testing import CliRunner

from mllmu_tasks.errors import UserError
from mllmu_unlearn.cli.main import app
from mllmu_unlearn.config.commands import FinetuneConfig, UnlearnConfig, parse
from mllmu_unlearn.methods import Method, _registry
from mllmu_unlearn.training import run
from mllmu_unlearn.training.checkpoints import checkpoints
from mllmu_unlearn.training.interruption import Bounds
from mllmu_unlearn.training.trainer import MethodTrainer

STEPS = ("--save_strategy", "steps", "--save_steps", "1")


@pytest.fixture
def unlearn(checkpoint, data, tmp_path):
    """unlearn(method, *flags) -> the finished folder."""

    def make(method: str, *more: str, out: str = "out", people=("--forget_ratio", "5")):
        where = ["--model_name_or_path", str(checkpoint), "--data", str(data), "--output_dir", str(tmp_path / out)]
        short = ["--max_steps", "8", "--lora_r", "2", "--disable_tqdm", "true", "--use_cpu", "--logging_steps", "1"]
        argv = [*where, *short, "--method", method, *people, *more]
        return run.unlearn(parse(UnlearnConfig, argv))

    return make


@pytest.fixture
def own(monkeypatch):
    """own(cls) registers a method for one test."""

    def make(cls: type[Method]) -> str:
        cls.title = cls.formula = cls.paper = cls.name
        monkeypatch.setitem(_registry._METHODS, cls.name, cls)
        return cls.name

    return make


def training_of(folder) -> dict:
    return yaml.safe_load((folder / "unlearning.yaml").read_text())["training"]


def test_a_bound_on_the_forget_loss_ends_training_and_is_recorded(unlearn):
    out = unlearn("gradient_ascent", "--learning_rate", "5e-2", "--stop_forget_loss_above", "6.05")
    training = training_of(out)
    assert 1 < training["steps"] < 8
    assert training["stopped_early"].startswith("forget loss ")
    assert training["stopped_early"].endswith(f"above 6.05 at step {training['steps']}")
    assert float(training["stopped_early"].split()[2]) > 6.05
    assert "stopped_early" not in training_of(unlearn("gradient_ascent", "--stop_forget_loss_above", "100"))


def test_a_bound_on_the_retain_loss_watches_answers_not_the_methods_term(unlearn):
    """kl_min's retain term is a divergence near 0; the bound is on the answers' loss."""
    out = unlearn("kl_min", "--stop_retain_loss_above", "3")
    assert training_of(out)["steps"] == 1
    assert training_of(out)["final_losses"]["loss_retain"] < 3


def test_a_stopped_run_that_was_interrupted_stops_at_the_same_step(unlearn, monkeypatch):
    flags = ["--learning_rate", "5e-2", "--stop_forget_loss_above", "6.05", "--logging_steps", "3"]
    flags += ["--save_strategy", "steps", "--save_steps", "2"]
    whole = unlearn("gradient_ascent", *flags, out="whole")
    train = MethodTrainer.training_step

    def training_step(self, *args, **kwargs):
        if self.state.global_step == 2:
            raise KeyboardInterrupt
        return train(self, *args, **kwargs)

    with monkeypatch.context() as patch:
        patch.setattr(MethodTrainer, "training_step", training_step)
        with pytest.raises(KeyboardInterrupt):
            unlearn("gradient_ascent", *flags)
    out = unlearn("gradient_ascent", *flags, "--resume_from_checkpoint", "true")
    assert training_of(out)["stopped_early"] == training_of(whole)["stopped_early"]
    one, other = (load_file(folder / "adapter_model.safetensors") for folder in (whole, out))
    assert all(torch.equal(one[name], other[name]) for name in one)


def test_a_bound_needs_its_side():
    base = ["--model_name_or_path", "m", "--output_dir", "o", "--forget_ratio", "5"]
    with pytest.raises(UserError, match="no retain answers"):
        parse(UnlearnConfig, [*base, "--method", "gradient_ascent", "--stop_retain_loss_above", "2"])
    with pytest.raises(UserError, match="no forget answers"):
        parse(FinetuneConfig, [*base[:4], "--stop_forget_loss_above", "2"])
    assert parse(UnlearnConfig, [*base, "--method", "npo", "--stop_retain_loss_above", "2"]).bounds == {"retain": 2.0}


FULL = [  # as torch and safetensors say it
    ("torch.save", RuntimeError("[enforce fail at inline_container.cc:672] . unexpected pos 738176 vs 738068")),
    ("peft.peft_model.safe_save_file", SafetensorError("Error while serializing: I/O error: No space left on device")),
]


@pytest.mark.parametrize(("writes", "error"), FULL)
@pytest.mark.parametrize("kept", [0, 1])
def test_a_full_disk_gives_advice_and_leaves_nothing_unfinished(unlearn, tmp_path, monkeypatch, writes, error, kept):
    """kept: how many checkpoints are whole when the disk is full."""
    save, done = MethodTrainer._save_checkpoint, []

    def fail(*args, **kwargs):
        raise error

    def once(trainer, *args):
        if len(done) == kept:
            monkeypatch.setattr(writes, fail)
        done.append(save(trainer, *args))

    monkeypatch.setattr(MethodTrainer, "_save_checkpoint", once)
    with pytest.raises(UserError, match=f"the disk has room.*{'checkpoint-1' if kept else 'again.$'}"):
        unlearn("gradient_ascent", "--save_strategy", "steps", "--save_steps", "1")
    left = sorted(path.name for path in tmp_path.rglob("*") if "out" in path.name or "staging" in path.name)
    assert left == (["out.checkpoints"] if kept else [])


def test_a_mistake_that_the_model_shows_leaves_nothing_behind(unlearn, tmp_path):
    with pytest.raises(UserError, match="fits 0 modules"):
        unlearn("rmu", "--layer", "absent")
    assert not list(tmp_path.glob("out*"))


@pytest.mark.parametrize(
    ("method", "more"),
    [
        ("smfa", ["--stop_retain_loss_above", "2"]),  # its batches hold other sides
        ("manu", ["--stop_forget_loss_above", "2"]),  # nothing is trained
        ("npo", ["--protocol", "official", "--stop_retain_loss_above", "2"]),  # forgets only
    ],
)
def test_a_bound_that_would_never_stop_anything_is_refused(unlearn, method, more):
    with pytest.raises(UserError, match=f"{method} has no (retain|forget) answers in its batches"):
        unlearn(method, *more)


def test_bounds_ignore_logs_without_a_loss():
    bounds = Bounds({"forget": 1.0})
    bounds.on_log(None, None, None, logs={"train_runtime": 1.0})
    assert bounds.reason == ""


def test_a_loss_that_turns_nan_keeps_the_last_checkpoint(unlearn, own, tmp_path):
    @dataclass
    class Broken(Method):
        name = "toy_broken"
        sides = ("forget",)
        steps = 0

        def forget(self, side):
            return side.nll() * (float("nan") if self.steps >= 2 else 1.0)

        def after_optimizer_step(self, means):
            self.steps += 1

    with pytest.raises(UserError, match=r"lower --learning_rate .*Kept .*checkpoint-2; .*--resume_from_checkpoint"):
        unlearn(own(Broken), *STEPS)
    assert [step for step, _ in checkpoints(tmp_path / "out.checkpoints")] == [2]
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("step", [3, 8])
def test_weights_that_turn_nan_while_the_loss_is_finite_are_never_kept(unlearn, own, tmp_path, step):
    @dataclass
    class Broken(Method):
        name = "toy_broken"
        sides = ("forget",)
        steps = 0

        def forget(self, side):
            return side.nll()

        def wrap(self, context):
            self.model = super().wrap(context)
            return self.model

        def after_optimizer_step(self, means):
            self.steps += 1
            if self.steps == step:
                next(p for p in self.model.parameters() if p.requires_grad).data[0] = float("inf")

    more = STEPS if step == 3 else ("--save_strategy", "no")
    with pytest.raises(UserError, match="weights are not finite any more"):
        unlearn(own(Broken), *more)
    assert [s for s, _ in checkpoints(tmp_path / "out.checkpoints")] == ([2] if step == 3 else [])
    assert not (tmp_path / "out").exists()


def test_no_memory_on_a_cpu_is_said_as_on_a_gpu(unlearn, monkeypatch):
    def fail(self, *args, **kwargs):
        raise RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory: you tried to allocate 9 bytes.")

    monkeypatch.setattr(MethodTrainer, "training_step", fail)
    with pytest.raises(UserError, match="out of memory; lower --per_device_train_batch_size"):
        unlearn("npo")


def test_no_memory_while_the_model_is_opened(unlearn, monkeypatch):
    def fail(*args):
        raise torch.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr(run.base_model, "load_model", fail)
    with pytest.raises(UserError, match="out of memory"):
        unlearn("npo")


def test_ctrl_c_is_one_line_and_exit_code_130(checkpoint, data, tmp_path, monkeypatch):
    def stop(self, *args, **kwargs):
        raise KeyboardInterrupt

    monkeypatch.setattr(MethodTrainer, "training_step", stop)
    where = ["--model_name_or_path", str(checkpoint), "--data", str(data), "--output_dir", str(tmp_path / "out")]
    argv = ["unlearn", "--method", "npo", "--forget_ratio", "5", "--use_cpu", "--disable_tqdm", "true", *where]
    outcome = CliRunner().invoke(app, argv)
    assert outcome.exit_code == 130
    assert "mllmu: stopped. No checkpoint yet." in outcome.output
    assert "Traceback" not in outcome.output


def test_other_errors_pass_as_they_are(unlearn, monkeypatch):
    def fail(self, *args, **kwargs):
        raise RuntimeError("a bug")

    monkeypatch.setattr(MethodTrainer, "training_step", fail)
    with pytest.raises(RuntimeError, match="a bug"):
        unlearn("npo")


def test_many_epochs_with_a_retain_side_smaller_than_the_forget_side(unlearn):
    """No loader is ever exhausted: the retain side goes on from pass to pass."""
    most = ",".join(f"{n:03d}" for n in range(1, 18))
    flags = ["--max_steps", "-1", "--num_train_epochs", "3", "--modalities", "text"]
    out = unlearn("grad_diff", *flags, "--per_device_train_batch_size", "8", people=("--forget_ids", most))
    record = yaml.safe_load((out / "unlearning.yaml").read_text())
    pairs = record["data"]["pairs"]
    assert pairs["retain"] * 3 < pairs["forget"]
    assert record["training"]["steps"] == 3 * -(-pairs["forget"] // 8)
