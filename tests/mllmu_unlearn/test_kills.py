"""kill -9 at every kind of moment: the output folder is the old or the new one, and resuming ends bit for bit alike."""

import json
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import torch
import yaml
from safetensors.torch import load_file

from mllmu_tasks.errors import UserError
from mllmu_unlearn.config.commands import UnlearnConfig, parse
from mllmu_unlearn.training import run
from mllmu_unlearn.training.checkpoints import checkpoints

DRIVER = """
import json, os, shutil, signal, sys
import torch
from mllmu_unlearn.output import card
from mllmu_tasks.artifacts import folders
from mllmu_unlearn.training import checkpoints
from mllmu_unlearn.training import run
from mllmu_unlearn.training import trainer
from mllmu_unlearn.config.commands import UnlearnConfig, parse

def die(*args, **kwargs):
    os.kill(os.getpid(), signal.SIGKILL)

def when(function, condition, after=False):
    def patched(*args, **kwargs):
        if not condition(*args):
            return function(*args, **kwargs)
        if after:
            function(*args, **kwargs)
        die()
    return patched

def to_checkpoint_3(source, place):
    return str(place).endswith("checkpoint-3")

def arm(point):
    MethodTrainer = trainer.MethodTrainer
    if point == "in a step":
        step = MethodTrainer.training_step
        MethodTrainer.training_step = when(step, lambda self, *_: self.state.global_step == 3)
    elif point == "while a checkpoint is written":
        torch.save = when(torch.save, lambda what, place: ".staging-3" in str(place) and "optimizer" in str(place))
    elif point == "before a checkpoint takes its place":
        os.replace = when(os.replace, to_checkpoint_3)
    elif point == "after a checkpoint took its place":
        os.replace = when(os.replace, to_checkpoint_3, after=True)
    elif point == "while an old checkpoint is deleted":
        shutil.rmtree = when(shutil.rmtree, lambda path, *_: ".staging-checkpoint-2" in str(path) and path.exists())
    elif point == "while the result is written":
        card.write = die
    elif point == "before the result takes its place":
        folders._swap = die
    elif point == "after the result took its place":
        folders._swap = when(folders._swap, lambda *_: True, after=True)
    elif point == "while checkpoints are cleared":
        clear = run.clear
        def cleared(work):
            checkpoints.remove = die  # not before: it also drops old ones while training goes on
            clear(work)
        run.clear = cleared

for point, argv in json.loads(sys.argv[1]).items():
    child = os.fork()  # one start-up for all; nothing was computed before, so forking is safe
    if not child:
        arm(point)
        run.unlearn(parse(UnlearnConfig, argv))
        os._exit(0)
    print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)
"""
# The newest complete checkpoint each leaves, and whether the output folder is the new one.
POINTS = {
    "in a step": (3, False),
    "while a checkpoint is written": (2, False),
    "before a checkpoint takes its place": (2, False),
    "after a checkpoint took its place": (3, False),
    "while an old checkpoint is deleted": (3, False),
    "while the result is written": (4, False),
    "before the result takes its place": (4, False),
    "after the result took its place": (4, True),
    "while checkpoints are cleared": (4, True),
}


def argv(checkpoint: Path, data: Path, out: Path, *more: str) -> list[str]:
    where = ["--model_name_or_path", str(checkpoint), "--data", str(data), "--output_dir", str(out)]
    short = ["--max_steps", "4", "--save_strategy", "steps", "--save_steps", "1", "--lora_r", "2"]
    quiet = ["--disable_tqdm", "true", "--use_cpu", "--learning_rate", "5e-3"]
    return [*where, *short, *quiet, "--method", "npo", "--forget_ratio", "5", *more]


@pytest.fixture(scope="module")
def killed(checkpoint, data, tmp_path_factory):
    """(home, weights of an uninterrupted run): home/<point> is what each kill left."""
    home = tmp_path_factory.mktemp("kills")
    whole = run.unlearn(parse(UnlearnConfig, argv(checkpoint, data, home / "whole")))
    old = run.unlearn(parse(UnlearnConfig, argv(checkpoint, data, home / "old", "--max_steps", "1", "--seed", "9")))
    jobs = {}
    for number, point in enumerate(POINTS):
        shutil.copytree(old, home / str(number))
        jobs[point] = argv(checkpoint, data, home / str(number))
    done = subprocess.run(
        [sys.executable, "-c", DRIVER, json.dumps(jobs)], capture_output=True, text=True, timeout=300, check=False
    )
    codes = [int(line) for line in done.stdout.splitlines() if line.lstrip("-").isdecimal()]
    assert codes == [-signal.SIGKILL] * len(POINTS), done.stderr[-3000:]
    return home, load_file(whole / "adapter_model.safetensors")


def equal(folder: Path, weights: dict[str, torch.Tensor]) -> bool:
    """Complete, and of these weights."""
    files = {"README.md", "adapter_config.json", "adapter_model.safetensors", "unlearning.yaml", "tokenizer.json"}
    assert files <= set(os.listdir(folder))
    yaml.safe_load((folder / "unlearning.yaml").read_text())
    here = load_file(folder / "adapter_model.safetensors")
    return all(torch.equal(here[name], weights[name]) for name in weights)


@pytest.mark.parametrize("number", range(len(POINTS)), ids=POINTS)
def test_old_or_new_and_resumed_alike(killed, checkpoint, data, number):
    home, weights = killed
    step, new = list(POINTS.values())[number]
    out, work = home / str(number), home / f"{number}.checkpoints"
    assert equal(out, weights if new else load_file(home / "old" / "adapter_model.safetensors"))
    assert checkpoints(work)[-1][0] == step
    resumed = parse(UnlearnConfig, argv(checkpoint, data, out, "--resume_from_checkpoint", "true"))
    if not (work / "run.json").exists():  # cleared first, so that no half-deleted checkpoint is ever taken up
        with pytest.raises(UserError, match="another run"):
            run.unlearn(resumed)
        resumed = parse(UnlearnConfig, argv(checkpoint, data, out))
    run.unlearn(resumed)
    assert equal(out, weights)
    assert not work.exists()
    assert not list(home.glob(f".{number}.*"))
