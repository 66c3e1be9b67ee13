"""`mllmu score`: one more text scorer over answers that were logged before."""

from pathlib import Path
from typing import Annotated

import typer

from mllmu_tasks.errors import UserError


def add_to(app: typer.Typer) -> None:
    app.command("score", help="Score logged answers with a text scorer of yours; no model is asked.")(score)


def score(
    folders: Annotated[list[Path], typer.Argument(help="Output folders or *_results.json files of lmms-eval.")],
    scorer: Annotated[str, typer.Option(help="path.py:NAME, or the name of a scorer that a package brings.")],
) -> None:
    from mllmu_tasks.results.rescoring import join_scores, open_runs
    from mllmu_tasks.scorers.base import SCORERS, Needs, get
    from mllmu_tasks.text_safety import one_line

    wanted = get(scorer)
    if wanted.needs is not Needs.TEXT:
        raise UserError(f"'{wanted.name}' needs more than a text; `mllmu judge` is the command of factuality.")
    if scorer in SCORERS:
        raise UserError(f"'{wanted.name}' scores answers inside lmms-eval; name a scorer of yours, path.py:NAME.")
    written = [found for run in open_runs(folders) if (found := join_scores(wanted, run))]
    if not written:
        raise UserError(
            f"these results hold no answers that '{wanted.rescores}' scored; '{wanted.name}' takes no other."
        )
    for file, answers in written:
        print(one_line(f"{answers} answers scored; written to {file}"))
