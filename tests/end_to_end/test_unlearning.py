"""From the shipped vanilla model to an adapter and its scores, through the command lines as users start them.

The evaluation is interrupted once (started by the `lmms-eval` script) and gone on with by `accelerate launch`.
"""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from command_lines import Outcome, mllmu

from mllmu_tasks.benchmarks.mini import checkpoint
from mllmu_tasks.harness.answer_store import Journal
from mllmu_tasks.results.runs import load_runs
from mllmu_tasks.results.tables.table import cells
from mllmu_unlearn.experiments.demo import recipe

LEAVES = ",".join(f"mllmu_{split}_15_generation_{kind}" for split in ("forget", "retain") for kind in ("image", "text"))
SCRIPT = (str(Path(sys.executable).with_name("lmms-eval")),)
LAUNCH = (sys.executable, "-m", "accelerate.commands.launch", "--cpu", "--num_processes", "1", "-m", "lmms_eval")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("unlearning")


def evaluation(folder: Path, model_args: str, out: str) -> tuple[str, ...]:
    return (
        *("--model", "mllmu_hf", "--model_args", model_args, "--tasks", LEAVES, "--batch_size", "1"),
        *("--log_samples", "--output_path", str(folder / out)),
    )


def start(folder: Path, *command: str) -> subprocess.Popen:
    environment = {**os.environ, "MLLMU_DATA": "mini", "MLLMU_CACHE": str(folder / "cache")}
    return subprocess.Popen(
        command, cwd=folder, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )


def interrupt_after_some_answers(process: subprocess.Popen, answers: Path, some: int = 5) -> None:
    deadline = time.monotonic() + 300
    while process.poll() is None and time.monotonic() < deadline:
        if sum(file.read_bytes().count(b"\n") for file in answers.glob("*.jsonl")) >= some:
            process.send_signal(signal.SIGINT)
            return
        time.sleep(0.01)
    process.kill()
    raise AssertionError(process.communicate()[0])


@pytest.fixture(scope="module")
def adapter(folder) -> Path:
    outcome = mllmu(
        folder,
        *("unlearn", "--config", str(recipe("grad_diff")), "--model_name_or_path", str(checkpoint("vanilla"))),
        *("--output_dir", "adapter", "--disable_tqdm", "true"),
        MLLMU_DATA="mini",
    )
    assert outcome.code == 0, outcome.output
    return folder / "adapter"


@pytest.fixture(scope="module")
def runs(folder, adapter) -> tuple[Outcome, int, Outcome]:
    """(the interrupted run, how many answers it left, the run that went on)."""
    command = evaluation(folder, f"pretrained={checkpoint('vanilla')},peft={adapter},dtype=float32", "out")
    first = start(folder, *SCRIPT, *command)
    interrupt_after_some_answers(first, folder / "cache" / "answers")
    said = first.communicate(timeout=120)[0]
    (file,) = (folder / "cache" / "answers").glob("*.jsonl")
    left = len(Journal(file).answers)
    second = start(folder, *LAUNCH, *command)
    output = second.communicate(timeout=300)[0]
    return Outcome(first.returncode, said, folder), left, Outcome(second.returncode, output, folder / "out")


def test_an_interrupted_evaluation_keeps_its_answers_and_the_same_command_goes_on(runs):
    first, left, second = runs
    assert first.code == 130
    assert "the same command goes on" in first.output
    assert "Traceback" not in first.output
    assert 5 <= left < 240
    assert second.code == 0, second.output
    assert f"continuing: {left} of 240 answers" in second.output


def test_forget_falls_and_retain_stays(runs):
    """Against the shipped vanilla model, whose scores another test holds to the table."""
    scores = {c.split: c.estimate.mean for run in load_runs([runs[2].folder]) for c in cells([run])}
    assert scores["forget"] <= 0.96 - 0.3
    assert scores["retain"] >= 0.93 - 0.15
