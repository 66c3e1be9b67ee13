"""`mllmu push`: an adapter or model, its card and its results, to the Hugging Face Hub."""

from pathlib import Path
from typing import Annotated

import typer


def add_to(app: typer.Typer) -> None:
    app.command("push", help="Upload an output folder to the Hub, with its card and evaluation results.")(push)


def push(
    adapter: Annotated[Path, typer.Argument(help="A folder of mllmu unlearn, finetune or export.")],
    repo_id: Annotated[str, typer.Option("--repo_id", "--repo-id", help="OWNER/NAME on the Hub.")],
    results: Annotated[
        list[Path] | None, typer.Option(help="lmms-eval output of this model; may be given more than once.")
    ] = None,
    base_model: Annotated[
        str | None,
        typer.Option("--base_model", "--base-model", help="Hub id of the base model, if it was a folder here."),
    ] = None,
    private: Annotated[bool, typer.Option("--private", help="Make a new repository private.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry_run", "--dry-run", help="Print what would go, and stop.")] = False,
) -> None:
    from mllmu_unlearn.output import hub

    hub.push(adapter, repo_id, results=results or (), base_model=base_model, private=private, dry_run=dry_run)
