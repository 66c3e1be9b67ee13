"""Content -> a folder: index.html, report.md, figures/*.png and *.svg; whole or not at all."""

from pathlib import Path

from mllmu_tasks.artifacts.folders import whole_folder
from mllmu_tasks.errors import UserError
from mllmu_tasks.results.report.content import Content
from mllmu_tasks.results.report.html import page
from mllmu_tasks.results.report.markdown import FIGURES, document

INDEX = "index.html"
MARK = '<meta name="generator" content="mllmu report">'


def check_out(out: Path) -> None:
    """Raise UserError if `out` holds something that is no report of ours."""
    if not out.exists() or (out.is_dir() and not any(out.iterdir())):
        return
    index = out / INDEX
    if not index.is_file() or MARK not in index.read_text(encoding="utf-8", errors="replace")[:4096]:
        raise UserError(f"'{out}' exists and is no report of mllmu; choose another --out.")


def write(content: Content, out: Path) -> None:
    """Put the report at `out` in the place of an older one. Raises UserError as `check_out`."""
    check_out(out)
    with whole_folder(out.resolve()) as work:
        (work / INDEX).write_text(page(content), encoding="utf-8")
        (work / "report.md").write_text(document(content), encoding="utf-8")
        figures = work / FIGURES
        figures.mkdir()
        for drawing in content.drawings:
            (figures / f"{drawing.key}.svg").write_text(drawing.svg, encoding="utf-8")
            (figures / f"{drawing.key}.png").write_bytes(drawing.png)
