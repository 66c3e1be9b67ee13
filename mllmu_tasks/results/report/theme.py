"""How figures look: one palette for light and dark, and matplotlib SVG made fit to stand inside a page."""

import io
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import matplotlib as mpl
from matplotlib.figure import Figure

from mllmu_tasks.text_safety import printable

INK, MUTED, GRID, PAPER = "#20242a", "#6a7280", "#dfe3e8", "#fefefe"
LOW, HIGH = "#c4500c", "#0b6fb0"
"""Where a low score is wanted (forget, test) and where a high one is (retain, real)."""
METHODS = ("#0b6fb0", "#e08a00", "#00906a", "#c4500c", "#b85c94", "#2f9fd8")
"""Okabe and Ito's palette (jfly.uni-koeln.de/color) without its yellow, a little darker for thin lines on white."""
MARKERS = "osD^vP"
WIDE, NARROW = 10.0, 4.1
"""Inches; a page shows one of the two."""

_VARIABLES = {INK: "ink", MUTED: "muted", GRID: "grid", PAPER: "paper", LOW: "low", HIGH: "high"} | {
    colour: f"m{place}" for place, colour in enumerate(METHODS)
}
_STYLE = {
    "font.family": "DejaVu Sans",
    "font.size": 8.5,
    "text.parse_math": False,  # a name with dollars is a name
    "svg.fonttype": "none",  # text stays text: to select, to search, and in the reader's font
    "svg.hashsalt": "mllmu",
    "text.color": INK,
    "axes.labelcolor": MUTED,
    "axes.edgecolor": GRID,
    "axes.titlecolor": INK,
    "axes.titlesize": 9,
    "axes.titlelocation": "left",
    "axes.titlepad": 6,
    "axes.labelsize": 8,
    "axes.facecolor": "none",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": GRID,
    "grid.linewidth": 0.6,
    "xtick.color": GRID,
    "ytick.color": GRID,
    "xtick.labelcolor": MUTED,
    "ytick.labelcolor": MUTED,
    "xtick.labelsize": 7.5,
    "ytick.labelsize": 7.5,
    "xtick.major.size": 0,
    "ytick.major.size": 0,
    "legend.frameon": False,
    "legend.fontsize": 8,
    "figure.facecolor": "none",
}


@dataclass(frozen=True)
class Mark:
    """How one row is drawn everywhere."""

    colour: str
    marker: str
    hollow: bool = False

    @property
    def face(self) -> str:
        return PAPER if self.hollow else self.colour


VANILLA, REFERENCE = Mark(INK, "o", hollow=True), Mark(INK, "*")


def mark(place: int) -> Mark:
    """Of the method at this place: 36 pairs of colour and shape, so that no two of 20 need colour alone."""
    return Mark(METHODS[place % 6], MARKERS[(place + place // 6) % 6])


@contextmanager
def style() -> Iterator[None]:
    with mpl.rc_context(_STYLE):
        yield


def svg(figure: Figure) -> str:
    """The figure as an SVG file, equal for equal figures."""
    out = io.StringIO()
    figure.draw_without_rendering()
    figure.set_layout_engine("none")  # it stands now; each further drawing would lay it out again
    figure.savefig(out, format="svg", metadata={"Date": None, "Creator": "mllmu report"})
    return printable(out.getvalue())


def png(figure: Figure, dpi: int = 160) -> bytes:
    out = io.BytesIO()
    figure.savefig(out, format="png", dpi=dpi, facecolor="white", metadata={"Software": "mllmu report"})
    return out.getvalue()


def inline(text: str, name: str, label: str) -> str:
    """An SVG of `svg` for use inside HTML: ids of its own, colours and font from the page, a label for ears.

    All text in it was escaped by matplotlib.
    """
    text = text[text.index("<svg") :]
    text = re.sub(r"<(metadata|style)\b.*?</\1>", "", text, flags=re.DOTALL)
    head, body = text.split(">", 1)
    box = re.search(r'viewBox="[^"]*"', head)[0]
    body = re.sub(r'\bid="([^"]*)"', rf'id="{name}-\1"', body)
    body = re.sub(r'(url\(#|href="#)', rf"\1{name}-", body)
    for colour, variable in _VARIABLES.items():
        body = body.replace(f": {colour}", f": var(--{variable})")
    body = body.replace("'DejaVu Sans'", "var(--font)")
    label = printable(label).replace("&", "&amp;").replace("<", "&lt;").replace('"', "&quot;")
    return f'<svg {box} role="img" aria-label="{label}" xmlns:xlink="http://www.w3.org/1999/xlink">{body}'
