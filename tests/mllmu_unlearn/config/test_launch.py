"""Launch files: accelerate's own loader takes them, and the command that is started is the one documented."""

import os
import sys

import pytest
from accelerate.commands.config.config_args import ClusterConfig, load_config_from_file
from accelerate.commands.launch import _validate_launch_command, launch_command_parser
from accelerate.utils import DistributedType
from transformers import training_args
from typer.testing import CliRunner

from mllmu_tasks.benchmarks.mini import checkpoint
from mllmu_tasks.errors import UserError
from mllmu_unlearn.cli.main import app
from mllmu_unlearn.config import launch, options

KINDS = {
    "ddp": DistributedType.MULTI_GPU,
    "fsdp2": DistributedType.FSDP,
    "zero2": DistributedType.DEEPSPEED,
    "zero3": DistributedType.DEEPSPEED,
}
RUN = ["unlearn", "--method", "npo", "--model_name_or_path", "m", "--output_dir", "o", "--forget_ratio", "5"]


def test_there_is_one_for_each_way():
    assert launch.names() == tuple(sorted(KINDS))


@pytest.mark.parametrize("name", sorted(KINDS))
def test_accelerate_reads_it(name, monkeypatch):
    config = load_config_from_file(str(launch.file_of(name)))  # refuses unknown keys
    assert isinstance(config, ClusterConfig)
    assert config.distributed_type is KINDS[name]
    assert config.mixed_precision == "bf16"
    monkeypatch.setattr(launch, "find_spec", lambda package: object())
    line = launch.command(name, 4, *RUN[:1], RUN[1:])
    assert line[:3] == [sys.executable, "-m", "accelerate.commands.launch"]
    arguments, _, _ = _validate_launch_command(launch_command_parser().parse_args(line[3:]))
    assert arguments.num_processes == 4
    assert arguments.training_script == "mllmu_unlearn.cli.main"
    assert arguments.training_script_args == RUN
    assert arguments.use_deepspeed is name.startswith("zero")
    assert arguments.use_fsdp is (name == "fsdp2")
    if name.startswith("zero"):
        assert int(arguments.zero_stage) == int(name[-1])
    if name == "fsdp2":
        assert int(arguments.fsdp_version) == 2


def test_the_command_becomes_the_launcher_once(monkeypatch):
    started = []
    monkeypatch.setattr(launch.torch.cuda, "device_count", lambda: 2)
    monkeypatch.setattr(os, "execve", lambda program, line, environment: started.append((line, environment)))
    with pytest.raises(UserError, match="--accelerate_config ddp"):  # the stand-in returns, so the run goes on alone
        CliRunner().invoke(app, [*RUN, "--data", "mini", "--accelerate_config", "ddp"], catch_exceptions=False)
    line, environment = started[0]
    assert line[line.index("--num_processes") + 1] == "2"
    assert line[-2:] == ["--accelerate_config", "ddp"]
    assert environment[launch.OURS] == "1"
    for mark in (launch.LAUNCHED, launch.OURS):
        with monkeypatch.context() as patch:
            patch.setenv(mark, "0")
            launch.launch("ddp", None, "unlearn", [])
    assert len(started) == 1


@pytest.mark.parametrize(
    ("config", "processes", "message"),
    [
        ("zero4", None, "Did you mean 'zero"),
        ("zero3", 2, r"pip install 'mllmu\[deepspeed\]'"),
        ("ddp", None, "none is visible"),
        (None, 2, "needs --accelerate_config"),
    ],
)
def test_what_cannot_start_is_said(config, processes, message, monkeypatch):
    monkeypatch.delenv(launch.LAUNCHED, raising=False)
    monkeypatch.setattr(launch, "find_spec", lambda package: None)
    with pytest.raises(UserError, match=message):
        launch.launch(config, processes, "unlearn", [])


@pytest.fixture
def bare(monkeypatch):
    """bare(*flags) -> what `mllmu unlearn` prints on a machine without GPU and DeepSpeed; nothing may be started."""

    def run(*flags: str) -> str:
        model = ["--model_name_or_path", str(checkpoint("vanilla")), "--data", "mini"]
        return CliRunner().invoke(app, [*RUN, *model, *flags], catch_exceptions=False).output

    monkeypatch.delenv(launch.LAUNCHED, raising=False)
    monkeypatch.setattr(os, "execve", lambda *_: pytest.fail("a dry run started processes"))
    monkeypatch.setattr(launch, "find_spec", lambda package: None)
    monkeypatch.setattr(launch.torch.cuda, "device_count", lambda: 0)
    for module in (training_args, options):
        monkeypatch.setattr(module, "is_torch_bf16_gpu_available", lambda: False)
        monkeypatch.setattr(module, "is_torch_tf32_available", lambda: False)
    return run


def test_a_dry_run_plans_for_another_machine(bare):
    alone, shown = bare("--dry_run"), bare("--dry_run", "--bf16", "--tf32", "true")
    here = "there is no bf16, tf32 here"
    assert here in shown
    assert "machine" not in alone
    assert [line for line in shown.splitlines() if here not in line] == alone.splitlines()
    with pytest.raises(UserError, match="bf16"):
        bare("--bf16")
    with pytest.raises(UserError, match="not both"):
        bare("--dry_run", "--bf16", "--fp16")


def test_a_dry_run_of_a_launch_counts_its_processes(bare):
    step = lambda shown: int(shown.partition("\nsteps ")[2].split()[0])
    four = bare("--dry_run", "--accelerate_config", "zero3", "--num_processes", "4")
    assert "batch 4 x 1 x 4" in four
    assert step(four) == step(bare("--dry_run")) / 4
    assert "before sharding" in four
    assert "there is no 4 GPUs, DeepSpeed here" in four
    assert "before sharding" not in bare("--dry_run", "--accelerate_config", "ddp", "--num_processes", "4")
    with pytest.raises(UserError, match="add --num_processes"):
        bare("--dry_run", "--accelerate_config", "ddp")
    with pytest.raises(UserError, match="Did you mean 'zero"):
        bare("--dry_run", "--accelerate_config", "zero9")


def test_a_launch_file_of_ones_own_says_how_many(bare, tmp_path):
    file = tmp_path / "own.yaml"
    file.write_text("distributed_type: MULTI_GPU\nnum_processes: 3\n")
    assert "x 1 x 3" in bare("--dry_run", "--accelerate_config", str(file))
    assert "x 1 x 2" in bare("--dry_run", "--accelerate_config", str(file), "--num_processes", "2")


@pytest.mark.parametrize(
    ("content", "message"), [(b"- a\n", "holds no `key: value`"), (b"{a", "YAML"), (b"\xff", "UTF-8")]
)
def test_a_file_that_is_no_launch_file(tmp_path, content, message):
    file = tmp_path / "own.yaml"
    file.write_bytes(content)
    with pytest.raises(UserError, match=message):
        launch.command(str(file), 2, *RUN[:1], RUN[1:])
