"""`mllmu tasks`: what lmms-eval finds, the flag for the commands that read tasks before plugins, and the task YAMLs."""

from pathlib import Path
from typing import Annotated

import typer

from mllmu_tasks.benchmarks import registry
from mllmu_tasks.errors import UserError
from mllmu_tasks.plugin import task_folder


def add_to(app: typer.Typer) -> None:
    app.command("tasks", help="List the task groups and leaves, and the --include-path of lmms-eval.")(tasks)


def tasks(
    all_leaves: Annotated[bool, typer.Option("--leaves", help="Also list every leaf task.")] = False,
    path: Annotated[bool, typer.Option("--path", help="Print the folder of the task YAMLs only.")] = False,
    write: Annotated[bool, typer.Option("--write", help="Write the task YAMLs of a benchmark anew.")] = False,
    folder: Annotated[
        Path | None, typer.Argument(help="With --write: where to. Default: the benchmark's own folder.")
    ] = None,
    benchmark: Annotated[str, typer.Option(help="A benchmark's name, or the folder of a new one.")] = "",
) -> None:
    if folder and not write:
        raise UserError(f"--write is missing: `mllmu tasks --write {folder}` writes task YAMLs there.")
    if write:
        _write(benchmark, folder)
        return
    if path:
        print(registry.task_folder(benchmark) if benchmark else task_folder())
        return
    asked = [registry.benchmark(benchmark)] if benchmark else registry.benchmarks()
    for one in asked:
        for ratio in one.ratios or (None,):
            splits = ", ".join(one.group_name(split.name, ratio) for split in one.splits)
            part = f"forget ratio {ratio:>2} %: " if ratio else ""
            print(f"{one.group_name(None, ratio):<10} {part}{splits}")
        pattern = f"{one.name}_<split>{'[_<ratio>]' if one.ratios else ''}_<task>_<modality>"
        print(f"\n{len(list(one.leaves()))} leaf tasks, named {pattern}", end="")
        print(":" if all_leaves else " (--leaves lists them).")
        order = {split.name: place for place, split in enumerate(one.splits)}
        for leaf in sorted(one.leaves(), key=lambda leaf: (leaf.ratio or 0, order[leaf.split])) if all_leaves else ():
            print(f"  {leaf.name}")
    folders = ",".join(str(registry.task_folder(one.name)) for one in asked)
    print(
        "\n`lmms-eval --tasks ...` finds these without a flag. `lmms-eval tasks` and `lmms-eval power` read\n"
        f"tasks before they load plugins; give them:\n  --include-path {folders}"
    )


def _write(benchmark: str, folder: Path | None) -> None:
    from mllmu_tasks.harness.task_files import write_task_files

    place = Path(benchmark)
    if benchmark and (place / "__init__.py").is_file():
        asked, own = registry.load(place.absolute()), place / registry.TASKS
    else:
        asked = registry.benchmark(benchmark) if benchmark else registry.default_benchmark()
        own = None if folder else registry.task_folder(asked.name)
    folder = folder or own
    print(f"{write_task_files(asked, folder)} files in {folder}")
