"""`mllmu report`: lmms-eval output folders as one page with figures, tables, examples and provenance."""

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer

from mllmu_tasks.errors import UserError


def add_to(app: typer.Typer) -> None:
    app.command("report", help="One page of figures, tables and examples from lmms-eval output folders.")(report)


def report(
    results: Annotated[list[Path], typer.Argument(help="Output folders or *_results.json files of lmms-eval.")],
    out: Annotated[Path, typer.Option(help="The folder to make; an older report in it is replaced.")] = Path("report"),
    data: Annotated[
        str | None, typer.Option(help="mini, a hub id or a folder: the data that were evaluated, for pictures.")
    ] = None,
    vanilla: Annotated[str | None, typer.Option(help="Row of the model before unlearning. Default: vanilla.")] = None,
    reference: Annotated[
        str | None, typer.Option(help="Row of the model that never met the people. Default: retain_only.")
    ] = None,
    training: Annotated[
        list[Path] | None, typer.Option(help="Output folder of `mllmu unlearn`, or a folder of such; repeatable.")
    ] = None,
) -> None:
    from mllmu_tasks.results.report.content import compose
    from mllmu_tasks.results.report.write import INDEX, check_out, write
    from mllmu_tasks.text_safety import one_line

    check_out(out)
    pictures = _Pictures(data) if data else None
    content = compose(results, pictures=pictures, vanilla=vanilla, reference=reference, training=training or [])
    write(content, out)
    print(one_line(str(out / INDEX)))
    for line in (*content.failed, *content.incomparable, *content.warnings):
        print(one_line(f"warning: {line}"), file=sys.stderr)
    if content.failed:
        raise UserError(f"the report is written, but {len(content.failed)} of what it was given is not a result.")


class _Pictures:
    """People of the data that `--data` names, as the leaf tasks ask about them."""

    def __init__(self, data: str) -> None:
        from mllmu_tasks.data.source import open_source

        self.name, self._source = data, open_source(data)

    def data_hash(self, leaf: str, with_examples: bool) -> str:
        from mllmu_tasks.benchmarks.mllmu.spec import FULL_CONFIG

        return self._source.hash({_config(leaf), *([FULL_CONFIG] if with_examples else [])})

    def show(self, leaf: str, people: Sequence[str]) -> dict:
        records = self._source.by_id(_config(leaf))
        chosen = [records[person] for person in people]
        self._source.want_images(chosen)
        return {person.id: self._source.image(person) for person in chosen}


def _config(name: str) -> str:
    """The config that a leaf task asks about."""
    from mllmu_tasks.benchmarks import registry

    leaf = registry.leaf_of(name)
    return registry.benchmark(leaf.benchmark).config(leaf)
