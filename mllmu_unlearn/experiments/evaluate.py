"""Several adapters of one base model evaluated in one process, each as lmms-eval alone would.

Every run goes through lmms-eval's own command-line function with the arguments of its separate command, so its result
files are the same. Shared are: the loaded base model, the tasks and their questions, and image features where an
adapter does not change them.
"""

import shlex
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from unittest.mock import patch

from accelerate import Accelerator, InitProcessGroupKwargs

from mllmu_tasks.artifacts.adapter_folder import read_adapter
from mllmu_tasks.errors import UserError, typed_reason_of
from mllmu_tasks.harness import unanswered
from mllmu_tasks.harness.model_args import model_args
from mllmu_tasks.harness.patches import shared_tasks
from mllmu_tasks.models.base_model import shared_bases
from mllmu_tasks.names import file_name, last_part
from mllmu_tasks.versions import say_moved

BASE = "base"
OURS = ("--model", "--output_path", "--log_samples")
LONGEST_WAIT = 60000
"""Seconds that a process waits for the others' answers; lmms-eval's own."""


@dataclass(frozen=True)
class EvalCommand:
    """name: of the adapter's folder, or `base`. arguments: of `lmms-eval`, all that a separate run needs."""

    name: str
    folder: Path
    arguments: tuple[str, ...]

    @property
    def command(self) -> str:
        return f"lmms-eval {shlex.join(self.arguments)}"


def plan(
    base: str, adapters: Sequence[str], with_base: bool, output_path: Path, more: str, rest: Sequence[str]
) -> list[EvalCommand]:
    """One run an adapter, and one of the base model first if wanted.

    more: arguments of `mllmu_hf`. rest: flags of lmms-eval, passed on. Raises UserError for adapters that are none or
    share a name, for paths that lmms-eval would cut, and for flags that are set here.
    """
    for flag in rest:
        if flag.partition("=")[0] in OURS:
            raise UserError(f"{flag.partition('=')[0]} is set by `mllmu eval` itself; leave it out.")
    names = [BASE] * with_base + [file_name(last_part(adapter), "the adapter's name") for adapter in adapters]
    twice = [name for name in names if names.count(name) > 1]
    if twice:
        raise UserError(f"two runs would be called '{twice[0]}'; rename an adapter folder, since results go by name.")
    if not names:
        raise UserError("nothing to evaluate: name --adapters, or add --with_base.")
    given = [model_args(more, pretrained=base, peft=peft) for peft in [None] * with_base + list(adapters)]
    for adapter in adapters:
        read_adapter(adapter)  # before hours of work, not after
    runs = []
    for name, line in zip(names, given, strict=True):
        folder = output_path / name
        arguments = ("--model", "mllmu_hf", "--model_args", line, *rest)
        runs.append(EvalCommand(name, folder, (*arguments, "--log_samples", "--output_path", str(folder))))
    return runs


def evaluate(runs: Sequence[EvalCommand], begin: Callable[[EvalCommand], None]) -> None:
    """Run them one after the other. begin: told before each. Raises UserError if one fails; results before it stay."""
    processes = _join_processes()
    with shared_bases(), shared_tasks():
        for run in runs:
            begin(run)
            _evaluate(run)
            processes.wait_for_everyone()


def _join_processes() -> Accelerator:
    """Several processes (`accelerate launch`, torchrun) find each other, as in lmms-eval's own command line."""
    return Accelerator(kwargs_handlers=[InitProcessGroupKwargs(timeout=timedelta(seconds=LONGEST_WAIT))])


def _evaluate(run: EvalCommand) -> None:
    from lmms_eval.__main__ import cli_evaluate_single, parse_eval_args

    with patch.object(sys, "argv", ["lmms-eval", *run.arguments]):
        _, arguments = parse_eval_args()
    try:
        cli_evaluate_single(arguments)
    except Exception as error:
        say_moved()
        raise UserError(f"the run of '{run.name}' failed ({typed_reason_of(error)}): {run.command}") from error
    unanswered.say()
