"""`mllmu recipes`: the flags of a run as files, by name: list them, read one, copy one to edit."""

from pathlib import Path
from typing import Annotated

import typer


def add_to(app: typer.Typer) -> None:
    app.command("recipes", help="List the recipes for --config; print one, or copy it to edit.")(recipes)


def recipes(
    name: Annotated[str | None, typer.Argument(help="Print this one, such as npo or mini/npo.")] = None,
    out: Annotated[Path | None, typer.Option(help="Copy it to this file, which must not exist yet.")] = None,
) -> None:
    from mllmu_tasks.errors import UserError
    from mllmu_unlearn.recipes import describe_recipe, find_recipe, recipe_names

    if name is None:
        if out is not None:
            raise UserError("which recipe? Name one: `mllmu recipes npo --out npo.yaml`.")
        width = max(map(len, recipe_names()))
        for known in recipe_names():
            print(f"{known:<{width}}  {describe_recipe(find_recipe(known))}")
        print("\n`--config NAME` runs one; `mllmu recipes NAME --out FILE` copies it.")
        return
    text = find_recipe(name).read_text(encoding="utf-8")
    if out is None:
        print(text, end="")
        return
    try:
        with out.open("x", encoding="utf-8") as file:
            file.write(text)
    except FileExistsError as error:
        raise UserError(f"'{out}' is there already; name another file.") from error
    print(f"{name} is copied to {out}; run it with --config {out}")
