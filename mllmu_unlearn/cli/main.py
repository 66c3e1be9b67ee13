"""`mllmu`: one small file a command. Heavy imports happen inside the commands."""

import errno
import logging
import os
import sys
from typing import Annotated

import typer

from mllmu_tasks import __version__, streams
from mllmu_tasks.errors import UserError, print_error, reason_of, unforeseen
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
    recipes,
    report,
    results,
    score,
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
score.add_to(app)
tasks.add_to(app)
methods.add_to(app)
recipes.add_to(app)
sweep.add_to(app)
push.add_to(app)
env.add_to(app)


@app.callback(invoke_without_command=True)
def root(version: Annotated[bool, typer.Option("--version", help="Print the version.")] = False) -> None:
    if version:
        print(f"mllmu {__version__}")
        raise typer.Exit


def main() -> None:
    """Run the command line and leave with its exit code.

    1 is said by a verdict of `mllmu check` alone; 130 and 143 by signals; 2 by whatever else is not well, with one
    sentence on stderr.
    """
    # bitsandbytes asks a hub for a faster 4-bit kernel when it is imported, and warns that there is none
    logging.getLogger("bitsandbytes.backends.cpu.ops").setLevel(logging.ERROR)
    streams.ready()
    signals.install()
    try:
        code = _run()
    except KeyboardInterrupt:
        code = 130
    raise SystemExit(signals.exit_code(code if _delivered() else 2))


def _run() -> int:
    try:
        app()
    except check.Verdict as verdict:
        return verdict.code
    except SystemExit as ended:
        return _code(ended)
    except UserError as error:
        print_error(error)
    except BrokenPipeError:  # whoever read our output has seen enough, as in `mllmu results | head`
        return 2
    except OSError as error:
        print_error(_of_the_disk(error))
    except Exception as error:  # a mistake of ours must not be read as a verdict
        print_error(unforeseen(error))
    return 2


def _code(ended: SystemExit) -> int:
    """Of a command's end that is no verdict; typer before 0.24 ends an interrupted one with 1."""
    if isinstance(ended.code, str):
        print_error(ended.code)
        return 2
    cause: BaseException | None = ended if ended.code == 1 else None
    while cause is not None:
        if isinstance(cause, KeyboardInterrupt):
            return 130
        cause = cause.__cause__ or cause.__context__
    return 2 if ended.code == 1 else ended.code or 0


def _delivered() -> bool:
    """Whether all that was printed arrived; Python would say so itself at its end, with exit code 120."""
    try:
        sys.stdout.flush()
        return True
    except OSError as error:
        if not isinstance(error, BrokenPipeError):
            print_error(f"the output cannot be written ({error.strerror}).")
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return False


def _of_the_disk(error: OSError) -> str:
    place = error.filename2 or error.filename  # of a copy, where it was to go
    where = f" ('{place}')" if place else ""
    if error.errno == errno.ENOSPC:
        return f"the disk is full{where}; free some room and run the same command again."
    reason = f"{reason_of(error)}{where if error.strerror else ''}"
    return f"{reason}; see that this place exists and can be read and written, or name another one."


if __name__ == "__main__":
    main()
