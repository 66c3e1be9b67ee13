"""What the start model is asked: once a sample where a number will do, once a step where logits are needed."""

import json
import subprocess
import sys

import pytest
from safetensors.torch import load_file

from mllmu_tasks.data.source import open_source
from mllmu_unlearn.config.commands import UnlearnConfig, parse
from mllmu_unlearn.training import base_model, plan, reference, run
from mllmu_unlearn.training.trainer import MethodTrainer

BATCHES = 5  # 18 forget samples in batches of four
STEPS = 2 * BATCHES


@pytest.fixture
def flags(checkpoint, data, tmp_path):
    where = ["--model_name_or_path", str(checkpoint), "--data", str(data), "--output_dir", str(tmp_path / "out")]
    short = ["--num_train_epochs", "2", "--lora_r", "2", "--learning_rate", "5e-3", "--disable_tqdm", "true"]
    return [*where, *short, "--use_cpu", "--logging_steps", "1", "--forget_ratio", "5"]


@pytest.fixture
def counted(monkeypatch):
    """Grows with every forward of a reference, with every model loaded and with every step."""
    seen = {"forwards": 0, "models": 0, "steps": 0}

    def counting(name, function):
        def wrapper(*args, **kwargs):
            seen[name] += 1
            return function(*args, **kwargs)

        return wrapper

    monkeypatch.setattr(reference, "forward", counting("forwards", reference.forward))
    monkeypatch.setattr(base_model, "load_model", counting("models", base_model.load_model))
    monkeypatch.setattr(MethodTrainer, "training_step", counting("steps", MethodTrainer.training_step))
    return seen


def alternates(flags, tmp_path) -> list[str]:
    config = parse(UnlearnConfig, [*flags, "--method", "npo"])
    samples = plan.make(config, open_source(config.data)).sides["forget"]
    file = tmp_path / "alternates.jsonl"
    rows = [{"person": s.person, "question": s.question, "answer": "In Paris."} for s in samples]
    file.write_text("\n".join(map(json.dumps, rows)))
    return ["--alternates", str(file)]


@pytest.mark.parametrize(
    ("method", "forwards"),
    [
        ("npo", BATCHES),  # however many epochs
        ("dpo", 2 * BATCHES),  # the answer and the refusal
        ("altpo", 2 * BATCHES),
        ("kl_min", STEPS),  # adapter off, in the same step
        ("grad_diff", 0),
    ],
)
def test_forwards_of_the_start_model(flags, counted, tmp_path, method, forwards):
    more = alternates(flags, tmp_path) if method == "altpo" else []
    run.unlearn(parse(UnlearnConfig, [*flags, "--method", method, *more]))
    assert counted == {"forwards": forwards, "models": 1, "steps": STEPS}


def test_a_resumed_run_asks_once_more_and_gets_the_same(flags, counted, tmp_path, monkeypatch):
    steps = ["--method", "npo", "--save_strategy", "steps", "--save_steps", "1"]
    whole = run.unlearn(parse(UnlearnConfig, [*flags, *steps, "--output_dir", str(tmp_path / "whole")]))
    train = MethodTrainer.training_step

    def stop(self, *args, **kwargs):
        if self.state.global_step == 7:
            raise KeyboardInterrupt
        return train(self, *args, **kwargs)

    with monkeypatch.context() as patch:
        patch.setattr(MethodTrainer, "training_step", stop)
        with pytest.raises(KeyboardInterrupt):
            run.unlearn(parse(UnlearnConfig, [*flags, *steps]))
    counted.update(forwards=0, steps=0)
    out = run.unlearn(parse(UnlearnConfig, [*flags, *steps, "--resume_from_checkpoint"]))
    assert (counted["forwards"], counted["steps"]) == (BATCHES, STEPS - 7)
    one, other = (load_file(folder / "adapter_model.safetensors") for folder in (whole, out))
    assert all((one[name] == other[name]).all() for name in one)


def test_processes_share_the_samples():
    order = [*range(9, 18), *range(9)]
    parts = [list(reference.batched(order, 4, rank, 3)) for rank in range(3)]
    assert parts == [[order[:4], order[12:16]], [order[4:8], order[16:]], [order[8:12]]]


def test_two_processes_equal_one(flags, tmp_path):
    common = [*flags, "--method", "npo", "--lora_dropout", "0", "--max_steps", "4", "--save_strategy", "no"]
    one = run.unlearn(parse(UnlearnConfig, common))
    launch = ["-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2", "-m", "mllmu_unlearn.cli.main"]
    two = ["--output_dir", str(tmp_path / "two"), "--per_device_train_batch_size", "2"]
    command = [sys.executable, *launch, "unlearn", *common, *two]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert ended.returncode == 0, ended.stderr[-2000:]
    mine, theirs = (load_file(folder / "adapter_model.safetensors") for folder in (one, tmp_path / "two"))
    assert all(mine[name].allclose(theirs[name], atol=1e-5) for name in mine)
