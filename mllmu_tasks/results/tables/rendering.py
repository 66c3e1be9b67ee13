"""One table for every command: drawn for the width of a terminal, plain in a pipe, or as Markdown.

What does not fit stands in several tables under each other, or turned, never across a torn border.
"""

import io
import shutil
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from rich import box
from rich.cells import cell_len
from rich.console import Console
from rich.table import Table
from rich.text import Text

from mllmu_tasks.text_safety import markdown, one_line

LEAST = 12
"""Characters that a column of sentences needs."""
UNLIMITED = 10_000


@dataclass(frozen=True)
class Grid:
    """Heads and lines of texts, which may come from outside; the first column names the lines.

    left: heads whose columns are aligned left, as the first one is. sentences: those of them whose cells may be broken
    into lines. sections: numbers of the lines that begin a new part. styles: text of a first cell -> its colour.
    """

    heads: Sequence[str]
    lines: Sequence[Sequence[str]]
    title: str = ""
    left: frozenset[str] = frozenset()
    sentences: frozenset[str] = frozenset()
    sections: frozenset[int] = frozenset()
    styles: Mapping[str, str] = field(default_factory=dict)


def terminal_width() -> int | None:
    """Columns of the terminal that standard output is; None where it goes elsewhere."""
    return shutil.get_terminal_size().columns if sys.stdout.isatty() else None


def as_markdown(grid: Grid) -> str:
    """Heads stand as they are, since they are ours; cells are escaped."""
    lines = [list(grid.heads), ["---"] * len(grid.heads), *([markdown(cell) for cell in line] for line in grid.lines)]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def as_text(grid: Grid, width: int | None = None, *, colour: bool = False) -> str:
    """For a terminal of this width; width None: for a pipe, without borders, each line whole."""
    if width is None:
        return _draw(grid, UNLIMITED, plain=True)
    groups = _groups(grid, width)
    if len(groups) > 1 and len(grid.lines) < len(grid.heads):
        turned = _turned(grid)
        if len(_groups(turned, width)) < len(groups):
            grid, groups = turned, _groups(turned, width)
    parts = []
    for place, group in enumerate(groups):
        lines = [[line[column] for column in group] for line in grid.lines]
        heads = [grid.heads[column] for column in group]
        title = grid.title if place == 0 else ""
        part = Grid(heads, lines, title, grid.left, grid.sentences, grid.sections, grid.styles)
        parts.append(_draw(part, width, plain=False, colour=colour))
    return "".join(parts)


def _groups(grid: Grid, width: int) -> list[list[int]]:
    """Which columns stand in one table, the first one in each."""
    needs = [_need(grid, column) + 3 for column in range(len(grid.heads))]
    groups: list[list[int]] = [[0]]
    for column in range(1, len(needs)):
        used = 1 + sum(needs[other] for other in groups[-1])
        if len(groups[-1]) > 1 and used + needs[column] > width:
            groups.append([0])
        groups[-1].append(column)
    return groups


def _need(grid: Grid, column: int) -> int:
    """Characters without which a cell of the column would be broken."""
    texts = [one_line(line[column]) for line in grid.lines]
    longest = max(map(cell_len, [*texts, *_head(grid.heads[column]).split("\n")]), default=0)
    return min(longest, LEAST) if grid.heads[column] in grid.sentences else longest


def _head(head: str) -> str:
    """A split above its task."""
    return one_line(head).replace(" ", "\n", 1)


def _turned(grid: Grid) -> Grid:
    """Columns as lines."""
    heads = ["", *(line[0] for line in grid.lines)]
    lines = [[head, *(line[place] for line in grid.lines)] for place, head in enumerate(grid.heads) if place]
    return Grid(heads, lines, grid.title, sentences=frozenset(heads[1:]) if grid.sentences else frozenset())


def _draw(grid: Grid, width: int, *, plain: bool, colour: bool = False) -> str:
    table = Table(
        title=Text(one_line(grid.title)) if grid.title else None,
        title_justify="left",
        box=None if plain else box.HEAVY_HEAD,
        padding=(0, 2, 0, 0) if plain else (0, 1),
    )
    for place, head in enumerate(grid.heads):
        right = place > 0 and head not in grid.left
        text = Text(one_line(head) if plain else _head(head))
        table.add_column(text, justify="right" if right else "left", overflow="fold")
    for number, line in enumerate(grid.lines):
        if number in grid.sections and number:
            table.add_section()
        texts = [Text(one_line(cell)) for cell in line]
        texts[0].stylize(grid.styles.get(line[0], ""))
        table.add_row(*texts)
    console = Console(
        width=width,
        file=io.StringIO(),
        force_terminal=colour,
        no_color=not colour,
        highlight=False,
        legacy_windows=False,
    )
    console.print(table)
    lines = console.file.getvalue().splitlines()
    return "".join(f"{line.rstrip() if plain else line}\n" for line in lines)
