"""No border is broken, however narrow the terminal; a pipe gets plain lines; nothing is lost."""

import re

import pytest
from rich.cells import cell_len

from mllmu_tasks.results.tables.rendering import Grid, as_markdown, as_text

WIDE = Grid(
    ["", *(f"forget_{n}↓ cls" for n in range(12))],
    [[f"model {m}", *(f"0.{n}{m} ±.0{m}" for n in range(12))] for m in range(7)],
)
WORDS = Grid(
    ["verdict", "rule"], [["HELD", "a rule with a very long name of many words"]], sentences=frozenset({"rule"})
)


@pytest.mark.parametrize("width", [20, 40, 80, 120, 400])
@pytest.mark.parametrize("grid", [WIDE, WORDS], ids=["wide", "words"])
def test_each_line_fits_and_each_table_is_closed(grid, width):
    lines = as_text(grid, width).splitlines()
    assert max(map(cell_len, lines)) <= width
    for line in lines:
        assert line[0] + line[-1] in ("┏┓", "┃┃", "┡┩", "││", "└┘"), line
    text = re.sub(r"[│┃\s]", "", "".join(lines))
    if width >= 40:
        assert all(
            re.sub(r"\s", "", cell) in text for line in grid.lines for cell in line if cell in ("HELD",) or "±" in cell
        )


def test_a_pipe_gets_one_line_a_row_without_borders():
    lines = as_text(WIDE).splitlines()
    assert len(lines) == 1 + len(WIDE.lines)
    assert not re.search("[│┃┏└]|\x1b", "".join(lines))
    assert lines[1].split() == [part for cell in WIDE.lines[0] for part in cell.split()]


def test_markdown_escapes_cells():
    assert as_markdown(Grid(["", "a"], [["x|y", "<b>"]])).splitlines()[2] == "| x\\|y | &lt;b&gt; |"
