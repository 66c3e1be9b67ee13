"""What a command started ends with it, whatever ends it, and its exit code says what that was."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from left_running import DEADLINE, runs, wait_until

from mllmu_unlearn.experiments import processes

FAMILY = """
import os, subprocess, sys, time
child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
with open(sys.argv[1] + ".part", "w") as file:
    file.write(f"{os.getpid()} {child.pid}")
os.replace(sys.argv[1] + ".part", sys.argv[1])
"""


def family(note: Path, *more: str) -> list[str]:
    """A command that starts another and notes the ids of both."""
    return [sys.executable, "-c", FAMILY + "\n".join(more), str(note)]


def noted(note: Path) -> list[int]:
    wait_until(note.is_file)
    return [int(pid) for pid in note.read_text().split()]


@pytest.fixture
def supervised(tmp_path):
    """The process that runs such a family, and the ids of the family."""
    note = tmp_path / "pids"
    process = subprocess.Popen(
        [sys.executable, "-m", "mllmu_unlearn.experiments.processes", *family(note, "time.sleep(600)")],
        stderr=subprocess.PIPE,
        text=True,
    )
    yield process, noted(note)
    process.kill()
    process.wait()


@pytest.mark.parametrize(
    ("number", "code"), [(signal.SIGTERM, 143), (signal.SIGINT, 130), (signal.SIGHUP, 129)], ids=["TERM", "INT", "HUP"]
)
def test_a_signal_ends_children_and_their_children(supervised, number, code):
    process, pids = supervised
    assert all(map(runs, pids))
    process.send_signal(number)
    _, said = process.communicate(timeout=DEADLINE)
    assert process.returncode == code
    assert [pid for pid in pids if runs(pid)] == []
    assert "Traceback" not in said


def test_a_killed_command_takes_its_child_with_it(supervised):
    process, (child, _) = supervised
    process.kill()
    wait_until(lambda: not runs(child))


def test_who_does_not_end_when_asked_is_killed(tmp_path, monkeypatch):
    monkeypatch.setattr(processes, "GRACE_SECONDS", 0.1)
    ignores = "import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN)\n"
    command = family(tmp_path / "pids", "time.sleep(600)")
    command[2] = ignores + command[2]
    process = processes.start(command)
    pids = noted(tmp_path / "pids")
    processes.end([process])
    assert process.returncode == -signal.SIGKILL
    wait_until(lambda: not any(map(runs, pids)))


def test_what_a_command_leaves_behind_is_ended(tmp_path):
    assert processes.run(family(tmp_path / "pids")) == 0
    child = noted(tmp_path / "pids")[1]
    wait_until(lambda: not runs(child))


@pytest.mark.parametrize(
    ("ending", "code"),
    [
        ("sys.exit(0)", 0),
        ("sys.exit(1)", 2),  # 1 is said by a verdict alone
        ("sys.exit(2)", 2),
        ("sys.exit(143)", 143),
        ("os.kill(os.getpid(), 9)", 137),
    ],
)
def test_the_exit_code_is_one_of_ours(ending, code):
    assert processes.run([sys.executable, "-c", f"import os, sys; {ending}"]) == code


def test_an_ignored_signal_stays_ignored():
    """As behind `nohup`."""
    code = (
        "import os, signal; from mllmu_unlearn import signals; signals.install(); os.kill(os.getpid(), signal.SIGHUP)"
    )
    ignoring = lambda: signal.signal(signal.SIGHUP, signal.SIG_IGN)
    assert subprocess.run([sys.executable, "-c", code], preexec_fn=ignoring, env=os.environ).returncode == 0
