"""`mllmu tasks`: what lmms-eval finds, and the flag for the commands that read tasks before plugins."""

from typing import Annotated

import typer

from mllmu_tasks.benchmarks.mllmu.spec import RATIOS, Leaf, Split, group_name, leaves
from mllmu_tasks.plugin import task_folder


def add_to(app: typer.Typer) -> None:
    app.command("tasks", help="List the task groups and leaves, and the --include-path of lmms-eval.")(tasks)


def tasks(
    all_leaves: Annotated[bool, typer.Option("--leaves", help="Also list every leaf task.")] = False,
    path: Annotated[bool, typer.Option("--path", help="Print the folder of the task YAMLs only.")] = False,
) -> None:
    folder = task_folder()
    if path:
        print(folder)
        return
    for ratio in RATIOS:
        splits = ", ".join(group_name(split, ratio) for split in Split)
        print(f"{group_name(None, ratio):<10} forget ratio {ratio:>2} %: {splits}")
    print(f"\n{len(list(leaves()))} leaf tasks, named mllmu_<split>[_<ratio>]_<task>_<modality>", end="")
    print(":" if all_leaves else " (--leaves lists them).")
    if all_leaves:
        for leaf in sorted(leaves(), key=_order):
            print(f"  {leaf.name}")
    print(
        "\n`lmms-eval --tasks ...` finds these without a flag. `lmms-eval tasks` and `lmms-eval power` read\n"
        f"tasks before they load plugins; give them:\n  --include-path {folder}"
    )


def _order(leaf: Leaf) -> tuple:
    return leaf.ratio or 0, list(Split).index(leaf.split)
