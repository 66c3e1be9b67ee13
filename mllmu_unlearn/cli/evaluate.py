"""`mllmu eval`: several adapters of one base model, loaded once."""

import argparse
import os
from collections.abc import Sequence
from pathlib import Path
from typing import NoReturn

import typer

from mllmu_tasks.errors import UserError
from mllmu_unlearn.cli.train import RAW


def add_to(app: typer.Typer) -> None:
    text = "Evaluate adapters of one base model in one process, as separate lmms-eval runs would."
    app.command("eval", context_settings=RAW, help=text)(evaluate)


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        raise UserError(f"{message}.")


def evaluate(context: typer.Context) -> None:
    from mllmu_unlearn.experiments.evaluate import EvalCommand, plan
    from mllmu_unlearn.experiments.evaluate import evaluate as run_all

    given, rest = parse(context.args)
    runs = plan(given.base, given.adapters, given.with_base, given.output_path, given.model_args, rest)
    main = os.environ.get("RANK", "0") == "0"

    def begin(run: EvalCommand) -> None:
        if main:
            print(f"{run.name}: {run.command}", flush=True)

    run_all(runs, begin)
    if main:
        folders = " ".join(str(run.folder) for run in runs)
        print(f"mllmu results {folders}")


def parse(arguments: Sequence[str]) -> tuple[argparse.Namespace, list[str]]:
    """Our flags, and those for lmms-eval. A hyphen in a flag may stand for an underscore."""
    parser = _Parser(
        prog="mllmu eval",
        allow_abbrev=False,
        description="Evaluate adapters of one base model in one process. Flags not named here go to lmms-eval.",
    )
    parser.add_argument("--base", required=True, help="The model that the adapters were made from: folder or hub id.")
    parser.add_argument("--adapters", nargs="+", default=[], help="Adapter folders or hub ids; prompts among them.")
    parser.add_argument("--with_base", action="store_true", help="The base model too.")
    parser.add_argument("--output_path", type=Path, required=True, help="Results go to OUTPUT_PATH/<adapter's name>.")
    parser.add_argument("--model_args", default="", help="More arguments of mllmu_hf: dtype=bfloat16,...")
    spelt = [_underscores(token) for token in arguments]
    given, rest = parser.parse_known_args(spelt)
    if not any(token.partition("=")[0] == "--tasks" for token in rest):
        raise UserError("name the tasks: --tasks mllmu")
    if not any(token.partition("=")[0] == "--batch_size" for token in rest):
        rest += ["--batch_size", "auto"]
    return given, rest


def _underscores(token: str) -> str:
    name, equals, value = token.partition("=")
    return name.replace("-", "_").replace("__", "--", 1) + equals + value if token.startswith("--") else token
