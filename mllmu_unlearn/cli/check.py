"""`mllmu check`: lmms-eval output against a policy; exit code 0 held, 1 broken, 2 undecided."""

import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from mllmu_tasks.errors import UserError

if TYPE_CHECKING:
    from mllmu_tasks.results.gate.outcomes import Gate

Folders = list[Path]


class Verdict(SystemExit):
    """The exit code of a verdict. No other way to end a command may say 1."""


def add_to(app: typer.Typer) -> None:
    app.command("check", help="Judge results by a policy: exit 0 if it held, 1 if broken, 2 if undecided.")(check)


def check(
    results: Annotated[Folders | None, typer.Argument(help="Output of lmms-eval for the model to judge.")] = None,
    policy: Annotated[Path | None, typer.Option(help="YAML file with rules; see --show-policy.")] = None,
    baseline: Annotated[
        Path | None, typer.Option(help="Results before unlearning, or a folder of `mllmu baseline save`.")
    ] = None,
    reference: Annotated[Path | None, typer.Option(help="Results of a retain-only model.")] = None,
    undecided: Annotated[
        Literal["fail", "warn"],
        typer.Option(help="Exit code when the evidence does not decide: 2, or 0 with a warning."),
    ] = "fail",
    allow_replay: Annotated[
        bool, typer.Option("--allow-replay", help="Judge answers of mllmu_replay too, although no model gave them.")
    ] = False,
    junit: Annotated[Path | None, typer.Option(help="Write a JUnit XML file.")] = None,
    markdown: Annotated[Path | None, typer.Option(help="Write a Markdown file.")] = None,
    json_file: Annotated[Path | None, typer.Option("--json", help="Write a JSON file.")] = None,
    show_policy: Annotated[bool, typer.Option("--show-policy", help="Print the default policy and stop.")] = False,
) -> None:
    from mllmu_tasks.results.gate import printing
    from mllmu_tasks.results.gate.policy import default_text, load_policy
    from mllmu_tasks.results.tables.rendering import terminal_width

    if show_policy:
        print(default_text(), end="")
        return
    if not results:
        raise UserError("name at least one output folder of lmms-eval.")
    gate = _judge(results, load_policy(policy), baseline, reference, undecided == "warn", allow_replay)
    width = terminal_width()
    print(printing.text(gate, width=width, colour=width is not None), end="")
    _write(junit, printing.junit(gate))
    _write(markdown, printing.markdown(gate))
    _write(json_file, printing.as_json(gate))
    summary = os.environ.get("GITHUB_STEP_SUMMARY")
    if summary:
        _write(Path(summary), printing.markdown(gate), append=True)
    raise Verdict(gate.exit_code)


def _judge(
    results: Folders, policy, baseline: Path | None, reference: Path | None, warn: bool, allow_replay: bool
) -> "Gate":
    """The gate; what cannot be read is a problem in it, so that reports are written for failed runs too."""
    from mllmu_tasks.results.gate.evaluation import Problem, open_side
    from mllmu_tasks.results.gate.judge import judge
    from mllmu_tasks.results.gate.outcomes import Gate

    sides = {}
    asked = {"results": results, "baseline": [baseline], "reference": [reference]}
    for role, paths in asked.items():
        if paths == [None]:
            continue
        try:
            sides[role] = open_side(role, paths, policy.least_answered)
        except UserError as error:
            problem = Problem(role, "", str(error).removeprefix(f"{role}: "))
            return Gate((), (problem,), (), policy, tuple(sides.values()))
    return judge(
        policy,
        sides["results"],
        sides.get("baseline"),
        sides.get("reference"),
        warn=warn,
        allow_replay=allow_replay,
    )


def _write(file: Path | None, text: str, *, append: bool = False) -> None:
    if file is None:
        return
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        with file.open("a" if append else "w", encoding="utf-8") as stream:
            stream.write(text)
    except OSError as error:
        raise UserError(f"'{file}' cannot be written ({error.strerror}).") from error
