"""`mllmu methods`: what there is to unlearn with, and what each method does."""

from dataclasses import MISSING, fields
from pathlib import Path
from typing import Annotated

import typer

from mllmu_tasks.errors import UserError


def add_to(app: typer.Typer) -> None:
    app.command("methods", help="List the unlearning methods, or describe one of them.")(methods)


def methods(
    name: Annotated[str | None, typer.Argument(help="Describe this one (or path.py:Class).")] = None,
    markdown: Annotated[bool, typer.Option("--markdown", help="All of them as a Markdown table.")] = False,
    check: Annotated[
        bool, typer.Option("--check", help="Look for mistakes in how this one is written, and try its loss.")
    ] = False,
    hyper_parameters: Annotated[
        str | None, typer.Option("--hyper_parameters", help="With --check: those without default, as JSON.")
    ] = None,
    write: Annotated[
        Path | None, typer.Option(help="Put the Markdown table into this document, between its marks.")
    ] = None,
) -> None:
    from mllmu_unlearn.config.parse import json_object
    from mllmu_unlearn.experiments.sweep.output import replace_block
    from mllmu_unlearn.methods import get, names

    if check:
        _check(name, json_object(hyper_parameters))
    elif name:
        _describe(name)
    elif write:
        replace_block(write, "methods", _table())
        print(f"the table of {len(names())} methods stands in {write}")
    elif markdown:
        print(_table())
    else:
        width = max(map(len, names()))
        for known in names():
            print(f"{known:<{width}}  {get(known).title}")
        print("\n`mllmu methods NAME` describes one; `mllmu unlearn --method NAME` runs it.")


def _table() -> str:
    from mllmu_unlearn.methods import get, names

    lines = ["| method | what is minimised | adapter | learning rate, epochs | paper |", "|---|---|---|---|---|"]
    for known in names():
        method = get(known)
        rate = f"{method.learning_rate:g}, {method.epochs:g}" if method.trains else "none"
        formula = method.formula.replace("|", "\\|")
        lines.append(f"| `{known}` {method.title} | {formula} | {_carriers(method)} | {rate} | {method.paper} |")
    return "\n".join(lines)


def _check(name: str | None, hyper_parameters: dict) -> None:
    from mllmu_unlearn.config.commands import UnlearnConfig
    from mllmu_unlearn.methods import get
    from mllmu_unlearn.methods._checks import check_declaration, check_loss

    if name is None:
        raise UserError("which method? Name one: `mllmu methods path.py:Class --check`.")
    kind = get(name)
    own = {field.name for field in fields(UnlearnConfig)}
    check_declaration(kind, own)
    print(f"{kind.name}: the class is complete; {check_loss(kind(**hyper_parameters))}")


def _describe(name: str) -> None:
    from mllmu_unlearn.methods import get

    method = get(name)
    lines = [f"{method.name}: {method.title}", f"  {' '.join((method.__doc__ or '').split())}", ""]
    lines += [f"minimised  {method.formula}", f"paper      {method.paper}"]
    lines.append(f"data       {', '.join(method.sides) or 'none'}")
    lines.append(f"result     {_carriers(method)}")
    if method.trains:
        lines.append(f"defaults   learning rate {method.learning_rate:g}, {method.epochs:g} epochs")
    lines.append(f"official   {'--protocol official' if method.official else 'not in the code of the benchmark'}")
    for option in fields(method):
        default = "" if option.default is MISSING else f" {option.default}"
        about = option.metadata.get("help", "undescribed; `hyper(default, help, source)` says what it does")
        lines.append(f"--{option.name}{default}\n    {about}")
    print("\n".join(lines))


def _carriers(method) -> str:
    return " or ".join(method.carriers or (method.kind,))
