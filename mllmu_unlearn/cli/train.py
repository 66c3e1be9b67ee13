"""`mllmu unlearn`, `mllmu finetune`, `mllmu export`: flags and YAML go to one dataclass a command."""

from pathlib import Path
from typing import Annotated

import typer

RAW = {"allow_extra_args": True, "ignore_unknown_options": True, "help_option_names": []}
"""The dataclass parses these commands' flags (all of transformers' TrainingArguments among them)."""


def add_to(app: typer.Typer) -> None:
    app.command("unlearn", context_settings=RAW, help="Forget people: write a PEFT adapter.")(unlearn)
    app.command("finetune", context_settings=RAW, help="Train the vanilla or the retain-only model.")(finetune)
    app.command("export", help="Make a checkpoint of an adapter, for backends and servers that take none.")(export)


def unlearn(context: typer.Context) -> None:
    from mllmu_unlearn.config import commands, launch
    from mllmu_unlearn.training import run

    parsed = commands.parse(commands.UnlearnConfig, context.args)
    launch.launch(parsed.accelerate_config, parsed.num_processes, "unlearn", context.args, dry_run=parsed.dry_run)
    run.unlearn(parsed)


def finetune(context: typer.Context) -> None:
    from mllmu_unlearn.config import commands, launch
    from mllmu_unlearn.training import run

    parsed = commands.parse(commands.FinetuneConfig, context.args)
    launch.launch(parsed.accelerate_config, parsed.num_processes, "finetune", context.args, dry_run=parsed.dry_run)
    run.finetune(parsed)


def export(
    adapter: Annotated[Path, typer.Argument(help="Adapter folder.")],
    out: Annotated[Path, typer.Option(help="The folder to make.")],
    merged: Annotated[
        bool,
        typer.Option("--merge/--link", help="Merged weights (vLLM), or links to the base weights (Transformers)."),
    ] = True,
    base: Annotated[
        str | None,
        typer.Option(help="The base model (folder or hub id), if the adapter's note does not lead there."),
    ] = None,
    this_base: Annotated[
        bool,
        typer.Option("--this_base", "--this-base", help="It is the adapter's base model, whatever the adapter notes."),
    ] = False,
) -> None:
    from mllmu_unlearn.output.export import link, merge

    if merged:
        print(f"merged weights: {merge(adapter, out, base, this_base)}")
    else:
        print(f"linked weights: {link(adapter, out, base, this_base)}")
