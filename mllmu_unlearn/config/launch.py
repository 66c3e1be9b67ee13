"""`--accelerate_config NAME`: the same command once more under `accelerate launch`, one process a GPU."""

import os
import sys
from collections.abc import Sequence
from importlib.resources import files
from importlib.util import find_spec
from pathlib import Path

import torch

from mllmu_tasks import strict_yaml
from mllmu_tasks.errors import UserError, did_you_mean

LAUNCHED = "LOCAL_RANK"
"""Set in every process that a launcher of several started."""
OURS = "MLLMU_LAUNCHED"
"""Set in what we launch: accelerate marks a single process by nothing, which would launch itself without end."""


def names() -> tuple[str, ...]:
    """Launch files of this package."""
    folder = files("mllmu_unlearn") / "accelerate"
    return tuple(sorted(file.name.removesuffix(".yaml") for file in folder.iterdir() if file.name.endswith(".yaml")))


def file_of(name: str) -> Path:
    """A launch file by name, or the user's own by path. Raises UserError."""
    if name in names():
        return Path(str(files("mllmu_unlearn") / "accelerate" / f"{name}.yaml"))
    if not Path(name).is_file():
        raise UserError(f"--accelerate_config '{name}' is no launch file.{did_you_mean(name, names())}")
    return Path(name)


def planned(config: str, processes: int | None) -> int:
    """How many processes a launch would start, on whatever machine. Raises UserError if nothing says it."""
    own = None if config in names() else _content(config).get("num_processes")
    count = processes or own or torch.cuda.device_count()
    if not count:
        raise UserError("for how many GPUs? None is visible here; add --num_processes to plan for another machine.")
    return count


def needs_deepspeed(config: str) -> bool:
    return _content(config).get("distributed_type") == "DEEPSPEED"


def shards(config: str) -> bool:
    """Whether a process holds only its share of weights, gradients or optimiser."""
    return _content(config).get("distributed_type") in ("DEEPSPEED", "FSDP")


def _content(config: str) -> dict:
    source = f"--accelerate_config '{config}'"
    content = strict_yaml.read(file_of(config), source)
    if not isinstance(content, dict):
        raise UserError(f"{source} is no launch file: it holds no `key: value` lines.")
    return content


def command(config: str, processes: int | None, command: str, arguments: Sequence[str]) -> list[str]:
    """The command line that starts all processes. Raises UserError where it could not work."""
    file = file_of(config)
    if needs_deepspeed(config) and not has_deepspeed():
        raise UserError(f"--accelerate_config {config} needs DeepSpeed: pip install 'mllmu[deepspeed]'.")
    if processes is None and config in names():
        processes = torch.cuda.device_count()
        if not processes:
            raise UserError(f"--accelerate_config {config} is for GPUs, and none is visible; leave it out.")
    count = ["--num_processes", str(processes)] if processes else []
    launcher = [sys.executable, "-m", "accelerate.commands.launch", "--config_file", str(file), *count]
    return [*launcher, "-m", "mllmu_unlearn.cli.main", command, *arguments]


def has_deepspeed() -> bool:
    return find_spec("deepspeed") is not None


def launch(
    config: str | None, processes: int | None, name: str, arguments: Sequence[str], *, dry_run: bool = False
) -> None:
    """Become what runs the launcher, if one is asked for and did not start this process. A dry run plans alone.

    The process stays, to end the launcher and what that started, but holds nothing of this one, no GPU either.
    """
    if config is None:
        if processes is not None:
            raise UserError("--num_processes needs --accelerate_config.")
        return
    if not {LAUNCHED, OURS} & os.environ.keys() and not dry_run:
        line = command(config, processes, name, arguments)
        sys.stdout.flush()
        started = [sys.executable, "-m", "mllmu_unlearn.experiments.processes", *line]
        os.execve(sys.executable, started, {**os.environ, OURS: "1"})
