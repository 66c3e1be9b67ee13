"""`mllmu`: one small file a command. Heavy imports happen inside the commands."""

import errno
import logging
import sys
from typing import Annotated

import typer

from mllmu_tasks import __version__
from mllmu_tasks.errors import UserError
from mllmu_unlearn import signals
from mllmu_unlearn.cli import (
    baseline,
    check,
    data,
    demo,
    env,
    evaluate,
    judge,
    methods,
    push,
    report,
    results,
    sweep,
    tasks,
    train,
)

app = typer.Typer(
    name="mllmu",
    help="Make a multimodal LLM forget a person, and measure it inside lmms-eval.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.add_typer(data.app, name="data")
demo.add_to(app)
train.add_to(app)
evaluate.add_to(app)
results.add_to(app)
check.add_to(app)
report.add_to(app)
baseline.add_to(app)
judge.add_to(app)
tasks.add_to(app)
methods.add_to(app)
sweep.add_to(app)
push.add_to(app)
env.add_to(app)


@app.callback(invoke_without_command=True)
def root(version: Annotated[bool, typer.Option("--version", help="Print the version.")] = False) -> None:
    if version:
        print(f"mllmu {__version__}")
        raise typer.Exit


def main() -> None:
    """Run the command line. Bad input ends with one sentence on stderr and exit code 2."""
    # bitsandbytes asks a hub for a faster 4-bit kernel when it is imported, and warns that there is none
    logging.getLogger("bitsandbytes.backends.cpu.ops").setLevel(logging.ERROR)
    signals.install()
    try:
        app()
    except SystemExit as end:
        raise SystemExit(signals.exit_code(end.code)) from None
    except UserError as error:
        print(f"mllmu: error: {error}", file=sys.stderr)
        raise SystemExit(2) from None
    except OSError as error:
        print(f"mllmu: error: {_of_the_disk(error)}", file=sys.stderr)
        raise SystemExit(2) from None


def _of_the_disk(error: OSError) -> str:
    where = f" ('{error.filename}')" if error.filename else ""
    if error.errno == errno.ENOSPC:
        return f"the disk is full{where}; free some room and run the same command again."
    reason = f"{error.strerror}{where}" if error.strerror else " ".join(str(error).split()) or type(error).__name__
    return f"{reason}; see that this place exists and can be read and written, or name another one."


if __name__ == "__main__":
    main()
