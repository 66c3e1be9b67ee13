"""Output folders are whole or absent, also when the process is killed in between."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from mllmu_tasks.artifacts import folders
from mllmu_tasks.artifacts.folders import check_output, check_replacing, whole_folder, write_whole
from mllmu_tasks.artifacts.record import RECORD as MARK
from mllmu_tasks.errors import UserError


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


def test_what_a_kill_between_the_two_renames_left_is_brought_back(tmp_path):
    out = tmp_path / "out"
    write(out, "one")
    out.rename(tmp_path / ".out.old")
    with pytest.raises(RuntimeError), whole_folder(out):
        raise RuntimeError
    assert content(out) == {MARK: "one"}
    assert os.listdir(tmp_path) == ["out"]


def test_a_text_is_written_whole_and_leaves_no_temporary_file(tmp_path):
    for text in ("1", "2"):
        write_whole(tmp_path / "a" / "b.json", text)
    assert content(tmp_path / "a") == {"b.json": "2"}
    with pytest.raises(UserError, match="cannot be written"):
        write_whole(tmp_path / "a", "3")
    assert content(tmp_path / "a") == {"b.json": "2"}
    assert os.listdir(tmp_path) == ["a"]


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
        "from mllmu_tasks.artifacts.folders import whole_folder\n"
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
    check_output(tmp_path / "absent", {})
    check_output(tmp_path, {})
    (tmp_path / "thesis.txt").write_text("precious")
    with pytest.raises(UserError, match="not written by mllmu"):
        check_output(tmp_path, {})
    with pytest.raises(UserError, match="not written by mllmu"):
        check_output(tmp_path / "thesis.txt", {})
    (tmp_path / MARK).write_text("")
    check_output(tmp_path, {})


@pytest.mark.parametrize(
    ("out", "source"),
    [
        ("model", "model"),
        ("model", "link"),
        ("link", "model"),
        ("model/", "./other/../model"),
        ("model/inside", "model"),
        ("", "model"),
        ("model", "model.checkpoints/checkpoint-3"),
        ("no/such", "no/such"),
    ],
)
def test_nothing_that_is_read_can_be_written_over(tmp_path, monkeypatch, out, source):
    monkeypatch.chdir(tmp_path)
    for folder in ("model", "other", "model.checkpoints/checkpoint-3"):
        write(tmp_path / folder, "one")
    (tmp_path / "link").symlink_to("model")
    with pytest.raises(UserError, match=r"--model_name_or_path .* lie in one another"):
        check_output(tmp_path / out, {"--data": None, "--model_name_or_path": source})
    assert content(tmp_path / "model") == {MARK: "one"}


def test_neighbours_and_hub_ids_are_no_obstacle(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write(tmp_path / "model", "one")
    check_output(tmp_path / "model-npo", {"--model_name_or_path": "model", "--data": "mini", "--train_data": None})
    check_output(tmp_path / "org", {"--model_name_or_path": "org/model"})


@pytest.mark.parametrize("place", ["/proc/nowhere/out", "{}/a file/out", "{}/" + "x" * 300])
def test_a_place_that_cannot_be_written_is_told_at_once(tmp_path, place):
    (tmp_path / "a file").write_text("")
    with pytest.raises(UserError, match="cannot be written"):
        check_output(Path(place.format(tmp_path)), {})


def test_looking_whether_a_place_can_be_written_leaves_nothing(tmp_path):
    check_output(tmp_path / "deep" / "er" / "out", {})
    assert list(tmp_path.iterdir()) == []


RUN = {"kind": "lora", "method": "npo", "forget": {"ids": ["003", "001"]}, "retain": {"people": 17}}


def finished(folder, record):
    write(folder, yaml.safe_dump(record))
    return folder


def test_the_same_run_may_be_repeated(tmp_path):
    assert not check_replacing(tmp_path / "absent", RUN, "go")
    again = RUN | {"forget": {"ids": ["001", "003"], "ratio": 5}, "seed": 2}
    assert check_replacing(finished(tmp_path / "out", RUN), again, "go")


@pytest.mark.parametrize(
    "other",
    [
        RUN | {"method": "grad_diff"},
        RUN | {"kind": "full"},
        RUN | {"forget": {"ids": ["001"]}},
        RUN | {"method": "finetune", "kind": "full", "trained": {"whom": "all"}},
        {"beta": 1},
        ["a list"],
        None,
    ],
)
def test_the_result_of_another_run_is_not_replaced(tmp_path, other):
    with pytest.raises(UserError, match=r"another run's result .* or add --flag\."):
        check_replacing(finished(tmp_path / "out", other), RUN, "add --flag")


def test_files_are_on_the_disk_before_they_get_their_name(tmp_path, monkeypatch):
    out, synced = tmp_path / "out", []
    write(out, "one")
    sync, swap = os.fsync, folders._swap

    def fsync(number):
        synced.append(os.fstat(number).st_ino)
        sync(number)

    def swapped(new, place):
        assert {file.stat().st_ino for file in new.iterdir()} == set(synced)
        swap(new, place)

    monkeypatch.setattr(os, "fsync", fsync)
    monkeypatch.setattr(folders, "_swap", swapped)
    write(out, "two")
    assert content(out) == {MARK: "two"}
