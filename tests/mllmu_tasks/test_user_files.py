"""Files that users name: nothing waits for a pipe, and nothing fills the memory."""

import os

import pytest

from mllmu_tasks.artifacts.adapter_folder import read_adapter
from mllmu_tasks.errors import UserError
from mllmu_tasks.results.gate.policy import load_policy
from mllmu_tasks.user_files import read_text
from mllmu_unlearn.config.commands import UnlearnConfig, parse
from mllmu_unlearn.experiments.sweep import grid
from mllmu_unlearn.methods._refusals import alternates


@pytest.fixture
def pipe(tmp_path):
    os.mkfifo(tmp_path / "pipe.yaml")
    return tmp_path / "pipe.yaml"


def test_a_pipe_is_no_file_for_any_reader(pipe):
    for read in (
        lambda: load_policy(pipe),
        lambda: grid.read(pipe),
        lambda: parse(UnlearnConfig, ["--config", str(pipe)]),
        lambda: alternates([], str(pipe)),
    ):
        with pytest.raises(UserError, match="is a pipe or a device, not a file"):
            read()


def test_a_record_that_is_a_pipe_does_not_hold_up_an_adapter(pipe, tmp_path):
    pipe.rename(tmp_path / "unlearning.yaml")
    with pytest.raises(UserError, match="lacks adapter_config"):
        read_adapter(tmp_path)


@pytest.mark.parametrize("place", ["/dev/zero", "/dev/null"])
def test_a_device_is_no_file(place):
    with pytest.raises(UserError, match="not a file"):
        read_text(place, "the policy")


@pytest.mark.parametrize(
    ("content", "says"),
    [(b"x" * 11, "more than 10 bytes"), (b"ab\xff", r"no text in UTF-8 \(byte 2\)")],
)
def test_what_is_too_large_or_no_text(tmp_path, content, says):
    (tmp_path / "file").write_bytes(content)
    with pytest.raises(UserError, match=says):
        read_text(tmp_path / "file", "the policy", most=10)


@pytest.mark.parametrize("name", ["none", "a\0b", "x" * 5000, "."])
def test_what_is_no_file_at_all(tmp_path, name):
    with pytest.raises(UserError, match=r"the policy (cannot be read|is a pipe)"):
        read_text(tmp_path / name, "the policy")
