"""Two processes and one output folder: the second is refused, whoever was killed leaves no lock."""

import errno
import fcntl
import os
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from mllmu_tasks.artifacts.folders import whole_folder
from mllmu_tasks.artifacts.only_writer import only_writer
from mllmu_tasks.artifacts.record import RECORD as MARK
from mllmu_tasks.errors import UserError
from mllmu_unlearn.config.commands import UnlearnConfig, parse
from mllmu_unlearn.output.export import link, merge
from mllmu_unlearn.training import run

HOLD = """
import sys
from pathlib import Path
from mllmu_tasks.artifacts.only_writer import only_writer
with only_writer(Path(sys.argv[1])):
    print("held", flush=True)
    sys.stdin.read()
"""


@pytest.fixture
def holder():
    """holder(folder) -> a process that holds it until its input ends."""
    started = []

    def hold(folder: Path) -> subprocess.Popen:
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
        started.append(subprocess.Popen([sys.executable, "-c", HOLD, str(folder)], **pipes))
        assert started[-1].stdout.readline() == b"held\n"
        return started[-1]

    yield hold
    for process in started:
        process.kill()
        process.communicate()


def test_every_writer_is_refused_while_another_process_writes(holder, checkpoint, data, tmp_path):
    argv = ["--model_name_or_path", str(checkpoint), "--data", str(data), "--forget_ratio", "5", "--lora_r", "2"]
    argv += ["--max_steps", "1", "--use_cpu", "--disable_tqdm", "true", "--method", "npo"]
    adapter = run.unlearn(parse(UnlearnConfig, [*argv, "--output_dir", str(tmp_path / "adapter")]))
    out, work = tmp_path / "new" / "out", tmp_path / "new" / "out.checkpoints"
    process = holder(out)
    work.mkdir()
    (work / "run.json").write_text("of the other run")
    said = f"'{out}' is being written by process {process.pid} on {socket.gethostname()}; wait until it ends, or"

    def write():
        with whole_folder(out):
            pass

    again = [*argv, "--output_dir", str(out)]
    writers = [
        write,
        lambda: run.unlearn(parse(UnlearnConfig, again)),
        lambda: run.unlearn(parse(UnlearnConfig, [*again, "--overwrite_output_dir", "true"])),
        lambda: merge(adapter, out),
        lambda: link(adapter, out),
    ]
    for writer in writers:
        with pytest.raises(UserError) as refused:
            writer()
        assert said in str(refused.value)
    assert [path.name for path in work.iterdir()] == ["run.json"]
    assert not out.exists()
    run.unlearn(parse(UnlearnConfig, [*again, "--dry_run", "true"]))  # it writes nothing
    process.communicate()
    run.unlearn(parse(UnlearnConfig, again))
    assert yaml.safe_load((out / MARK).read_text())["method"] == "npo"
    assert [path.name for path in out.parent.iterdir()] == ["out"]


def test_a_killed_process_holds_nothing(holder, tmp_path):
    process = holder(tmp_path / "out")
    process.send_signal(signal.SIGKILL)
    process.wait()
    with only_writer(tmp_path / "out"), only_writer(tmp_path / "out"):
        assert (tmp_path / ".out.lock").read_text().split()[0] == str(os.getpid())
    assert not list(tmp_path.iterdir())


def test_the_same_folder_by_another_path(holder, tmp_path):
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "real")
    holder(tmp_path / "real" / "out")
    with pytest.raises(UserError, match="is being written by process"), only_writer(tmp_path / "link" / "out"):
        pass


def test_a_place_where_nothing_can_be_written(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="cannot be written"), only_writer(tmp_path / "file" / "out"):
        pass


@pytest.fixture
def no_locks(monkeypatch):
    """A file system without locks, as Lustre is without its option flock."""

    def flock(*_):
        raise OSError(errno.ENOSYS, "Function not implemented")

    monkeypatch.setattr(fcntl, "flock", flock)


def test_without_locks_the_file_is_the_lock(no_locks, tmp_path):
    out, lock = tmp_path / "out", tmp_path / ".out.lock"
    with only_writer(out), only_writer(out):
        assert lock.is_file()
    assert not lock.exists()
    ended = subprocess.Popen(["true"])
    ended.wait()
    for holder, free in (
        (f"{ended.pid} {socket.gethostname()}", True),
        (f"{os.getpid()} {socket.gethostname()}", False),
        ("1 another-machine", False),
    ):
        lock.write_text(holder)
        if free:
            with only_writer(out):
                pass
            continue
        with (
            pytest.raises(UserError, match=r"is being written .*if it is over, remove '.*\.out\.lock'"),
            only_writer(out),
        ):
            pass
        assert lock.read_text() == holder
