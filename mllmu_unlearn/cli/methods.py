"""`mllmu methods`: what there is to unlearn with, and what each method does."""

from dataclasses import MISSING, fields
from typing import Annotated

import typer


def add_to(app: typer.Typer) -> None:
    app.command("methods", help="List the unlearning methods, or describe one of them.")(methods)


def methods(
    name: Annotated[str | None, typer.Argument(help="Describe this one (or path.py:Class).")] = None,
    markdown: Annotated[bool, typer.Option("--markdown", help="All of them as a Markdown table.")] = False,
) -> None:
    from mllmu_unlearn.methods import get, names

    if name:
        _describe(name)
    elif markdown:
        print("| method | what is minimised | adapter | learning rate, epochs | paper |\n|---|---|---|---|---|")
        for known in names():
            method = get(known)
            rate = f"{method.learning_rate:g}, {method.epochs:g}" if method.trains else "none"
            formula = method.formula.replace("|", "\\|")
            print(f"| `{known}` {method.title} | {formula} | {_carriers(method)} | {rate} | {method.paper} |")
    else:
        width = max(map(len, names()))
        for known in names():
            print(f"{known:<{width}}  {get(known).title}")
        print("\n`mllmu methods NAME` describes one; `mllmu unlearn --method NAME` runs it.")


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
