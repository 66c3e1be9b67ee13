"""A signal in the middle of training, as schedulers send it: checkpoints stay, children go, the code names it."""

import json
import signal
import subprocess
import sys

import pytest
import yaml
from left_running import naming, wait_until

from mllmu_unlearn.config.commands import FinetuneConfig, UnlearnConfig, parse
from mllmu_unlearn.training import run
from mllmu_unlearn.training.checkpoints import checkpoints

MAIN = [sys.executable, "-m", "mllmu_unlearn.cli.main"]
LAUNCH_FILE = {"compute_environment": "LOCAL_MACHINE", "distributed_type": "NO", "use_cpu": True, "num_processes": 1}
ENDS = [
    ("unlearn", signal.SIGTERM, 143, ("--dataloader_num_workers", "1")),
    ("finetune", signal.SIGINT, 130, ()),
    ("unlearn", signal.SIGTERM, 143, ("--accelerate_config", "launch.yaml", "--num_processes", "1")),
]


@pytest.mark.parametrize(("command", "number", "code", "more"), ENDS, ids=["TERM", "INT", "TERM of a launch"])
def test_a_signal_keeps_checkpoints_and_leaves_no_process(checkpoint, data, tmp_path, command, number, code, more):
    (tmp_path / "launch.yaml").write_text(json.dumps(LAUNCH_FILE))
    out, work = tmp_path / "out", tmp_path / "out.checkpoints"
    argv = ["--model_name_or_path", str(checkpoint), "--data", str(data), "--output_dir", str(out), "--use_cpu"]
    argv += ["--save_strategy", "steps", "--save_steps", "1", "--disable_tqdm", "true"]
    argv += ["--method", "npo", "--forget_ratio", "5", "--lora_r", "2"] if command == "unlearn" else []
    line = [*MAIN, command, *argv, "--max_steps", "100000", *more]
    process = subprocess.Popen(line, cwd=tmp_path, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    try:
        wait_until(lambda: process.poll() is not None or checkpoints(work))
        process.send_signal(number)
        _, said = process.communicate(timeout=120)
    finally:
        process.kill()
    assert process.returncode == code, said[-3000:]
    if "--dataloader_num_workers" not in more:  # torch's loader process may die in a trace of its own
        assert "Traceback" not in said
    if "--accelerate_config" not in more:  # there the processes print in their own order, or not any more
        assert f"Kept {checkpoints(work)[-1][1]}; the same command with --resume_from_checkpoint goes on." in said
    assert naming(str(out)) == []
    assert not out.exists()
    steps = checkpoints(work)[-1][0] + 1
    again = [*argv, "--max_steps", str(steps), "--lr_scheduler_type", "constant"]
    kind, go = (UnlearnConfig, run.unlearn) if command == "unlearn" else (FinetuneConfig, run.finetune)
    go(parse(kind, again))  # its lock is gone, too
    assert yaml.safe_load((out / "unlearning.yaml").read_text())["training"]["steps"] == steps
