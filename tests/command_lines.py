"""The real command lines in a subprocess, from a directory that is not the repository.

One start costs 15 to 20 seconds, so the runs are few and shared.
"""

import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Outcome:
    """What a finished command left."""

    code: int
    output: str
    folder: Path

    @property
    def results(self) -> dict:
        (file,) = self.folder.rglob("*_results.json")
        return json.loads(file.read_text())

    def samples(self, leaf: str) -> list[dict]:
        (file,) = self.folder.rglob(f"*_samples_{leaf}.jsonl")
        return [json.loads(line) for line in file.read_text().splitlines()]


def lmms_eval(folder: Path, *arguments: str, **environment: str) -> Outcome:
    """Run `lmms-eval` with logged samples into `folder`/out."""
    folder.mkdir(parents=True, exist_ok=True)
    out = folder / "out"
    command = [sys.executable, "-m", "lmms_eval", *arguments, "--log_samples", "--output_path", str(out)]
    return _run(command, folder, out, environment)


def mllmu(folder: Path, *arguments: str, **environment: str) -> Outcome:
    """Run `mllmu` as its console script does."""
    code = "from mllmu_unlearn.cli.main import main; main()"
    return _run([sys.executable, "-c", code, *arguments], folder, folder, environment)


def mllmu_in_two(folder: Path, *arguments: str, **environment: str) -> Outcome:
    """Run `mllmu` in two processes that know of each other."""
    launch = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2"]
    return _run([*launch, "-m", "mllmu_unlearn.cli.main", *arguments], folder, folder, environment)


def _run(command: list[str], folder: Path, out: Path, environment: dict) -> Outcome:
    done = subprocess.run(
        command,
        cwd=folder,
        env={**os.environ, **environment},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=600,
    )
    return Outcome(done.returncode, done.stdout + done.stderr, out)
