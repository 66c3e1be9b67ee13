"""Output folders are whole or absent, also when the process is killed in between."""

import os
import signal
import subprocess
import sys

import pytest

from mllmu_tasks.errors import UserError
from mllmu_unlearn import folders
from mllmu_unlearn.folders import MARK, check_output, whole_folder


def content(folder):
    return {p.name: p.read_text() for p in folder.iterdir()}


def write(folder, text):
    with whole_folder(folder) as stage:
        (stage / MARK).write_text(text)


def test_new_folder_then_replaced(tmp_path):
    out = tmp_path / "deep" / "out"
    write(out, "one")
    assert content(out) == {MARK: "one"}
    write(out, "two")
    assert content(out) == {MARK: "two"}
    assert [p.name for p in out.parent.iterdir()] == ["out"]


def test_replaced_without_an_atomic_exchange(tmp_path, monkeypatch):
    monkeypatch.setattr(folders, "_exchange", lambda one, other: False)
    out = tmp_path / "out"
    write(out, "one")
    write(out, "two")
    assert content(out) == {MARK: "two"}
    assert [p.name for p in tmp_path.iterdir()] == ["out"]


def test_a_failure_keeps_the_old_folder(tmp_path):
    out = tmp_path / "out"
    write(out, "one")

    def fail():
        with whole_folder(out) as stage:
            (stage / MARK).write_text("half")
            raise RuntimeError

    with pytest.raises(RuntimeError):
        fail()
    assert content(out) == {MARK: "one"}
    assert [p.name for p in tmp_path.iterdir()] == ["out"]


def test_a_kill_keeps_the_old_folder_and_the_next_run_clears_up(tmp_path):
    out = tmp_path / "out"
    write(out, "one")
    code = (
        "import os, signal, sys\n"
        "from pathlib import Path\n"
        "from mllmu_unlearn.folders import whole_folder\n"
        "with whole_folder(Path(sys.argv[1])) as stage:\n"
        "    (stage / 'unlearning.yaml').write_text('half')\n"
        "    os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    ended = subprocess.run([sys.executable, "-c", code, str(out)], check=False)
    assert ended.returncode == -signal.SIGKILL
    assert content(out) == {MARK: "one"}
    write(out, "two")
    assert content(out) == {MARK: "two"}
    assert os.listdir(tmp_path) == ["out"]


def test_folders_of_others_are_not_replaced(tmp_path):
    check_output(tmp_path / "absent")
    check_output(tmp_path)
    (tmp_path / "thesis.txt").write_text("precious")
    with pytest.raises(UserError, match="not written by mllmu"):
        check_output(tmp_path)
    with pytest.raises(UserError, match="not written by mllmu"):
        check_output(tmp_path / "thesis.txt")
    (tmp_path / MARK).write_text("")
    check_output(tmp_path)
