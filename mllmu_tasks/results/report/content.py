"""Everything a report says, before it becomes HTML or Markdown."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from matplotlib.figure import Figure

from mllmu_tasks.results.columns import FORGET, RETAIN
from mllmu_tasks.results.report import examples, figures, people_figures, provenance, theme
from mllmu_tasks.results.report.figures import Subject
from mllmu_tasks.results.report.gather import RowKind, Study, gather
from mllmu_tasks.results.report.scores import score_all
from mllmu_tasks.results.report.tables import Table, tables
from mllmu_tasks.results.report.training import Training, load_training

NO_PICTURES = "Pictures are shown with --data, the data set that was evaluated."


@dataclass(frozen=True)
class Drawing:
    """A figure: as files (svg, png), and for the page in two widths. label: what it shows, for those who cannot see."""

    key: str
    title: str
    caption: str
    label: str
    svg: str
    png: bytes
    wide: str
    narrow: str


@dataclass(frozen=True)
class Content:
    """failed: what is no result; incomparable: why rows must not be compared; warnings: the rest."""

    title: str
    summary: str
    reading: str
    failed: tuple[str, ...]
    incomparable: tuple[str, ...]
    warnings: tuple[str, ...]
    drawings: tuple[Drawing, ...]
    tables: tuple[Table, ...]
    examples: tuple[examples.Example, ...]
    examples_note: str
    origins: tuple[provenance.Origin, ...]
    trainings: tuple[dict[str, str], ...]
    made_by: str

    @property
    def has_parts(self) -> bool:
        """Whether a number stands for a part of the questions."""
        return any(score and score.is_part for table in self.tables for line in table.lines for score in line.cells)


def compose(
    results: Sequence[Path],
    *,
    pictures: examples.Pictures | None = None,
    vanilla: str | None = None,
    reference: str | None = None,
    training: Sequence[Path] = (),
) -> Content:
    """Read, compute and draw everything. pictures: of the people asked about. Raises UserError."""
    found = gather(results, vanilla, reference)
    trainings = load_training(training)
    shown = examples.draw(found, pictures)  # first: other data than evaluated is an error at once
    subject = Subject(found, score_all(found))
    return Content(
        title="Unlearning report",
        summary=_summary(found),
        reading=_reading(found),
        failed=found.failed,
        incomparable=found.incomparable,
        warnings=found.warnings,
        drawings=tuple(_drawings(subject, trainings)),
        tables=tuple(tables(subject)),
        examples=tuple(shown),
        examples_note=_examples_note(shown, pictures is not None),
        origins=tuple(provenance.origins(found)),
        trainings=tuple(provenance.training_facts(trainings)),
        made_by=provenance.written_by(),
    )


def _summary(found: Study) -> str:
    people = {s.person for row in found.rows for samples in row.side.samples.values() for s in samples}
    forgotten = {
        s.person
        for row in found.rows
        for samples in row.side.samples.values()
        for s in samples
        if s.leaf.role == FORGET
    }
    asked = max(sum(map(len, row.side.samples.values())) for row in found.rows)
    data = sorted({str(f.get("data")) for row in found.rows for f in row.side.facts.values() if f.get("data")})
    parts = [
        f"forget ratio {found.ratio} %",
        f"{len(found.rows)} models",
        f"{len(forgotten)} people to forget among {len(people)}" if forgotten else f"{len(people)} people",
        f"up to {asked:,} questions a model",
        f"data {', '.join(data)}" if data else "data not recorded",
    ]
    return " · ".join(parts)


def _reading(found: Study) -> str:
    vanilla, reference = found.one(RowKind.VANILLA), found.one(RowKind.REFERENCE)
    low = f"to {reference.name}, which never met these people" if reference else "(no retain-only model is given)"
    high = f"at {vanilla.name}, the model before unlearning" if vanilla else "(no vanilla model is given)"
    bold = (
        "No value is bold, since the rows cannot be compared."
        if found.incomparable
        else "Bold: the best method of a column, only where it is shown to be better than every other one "
        "(paired by question, clustered by person, Holm over the others, 5 %)."
    )
    falls, stays = (" and ".join(found.splits_of(role)) for role in (FORGET, RETAIN))
    wanted = "; ".join(
        sentence
        for splits, sentence in ((falls, f"{falls} should fall {low}"), (stays, f"{stays} should stay {high}"))
        if splits
    )
    return f"{wanted[:1].upper()}{wanted[1:]}. Intervals are 95 % and take people, not questions, as the sample. {bold}"


def _examples_note(shown: Sequence[examples.Example], pictured: bool) -> str:
    if not shown:
        return ""
    drawn = f"People are drawn at random (seed {examples.SEED}), not chosen; one question a task."
    return drawn if pictured else f"{drawn} {NO_PICTURES}"


def _drawings(subject: Subject, trainings: Sequence[Training]) -> list[Drawing]:
    made = []
    with theme.style():
        for key, (title, caption, draw) in _FIGURES.items():
            wide = draw(subject, trainings, theme.WIDE)
            if wide is None:
                continue
            label = f"{title}. {caption}"
            file, narrow = theme.svg(wide), theme.svg(draw(subject, trainings, theme.NARROW))
            made.append(
                Drawing(
                    key=key,
                    title=title,
                    caption=caption,
                    label=label,
                    svg=file,
                    png=theme.png(wide),
                    wide=theme.inline(file, f"{key}-w", label),
                    narrow=theme.inline(narrow, f"{key}-n", label),
                )
            )
    return made


_Draw = Callable[[Subject, Sequence[Training], float], Figure | None]
_FIGURES: dict[str, tuple[str, str, _Draw]] = {
    "tradeoff": (
        "Forgetting against keeping",
        "Right is forgotten, up is kept. The dashed lines are the frame: where retain-only stands on the forget set, "
        "and where vanilla stands on what is to be kept; a good method is at their crossing. Lines through a point "
        "are 95 % intervals.",
        lambda subject, _, width: figures.tradeoff(subject, width),
    ),
    "bars": (
        "Every split and task",
        "Image and text questions together. Orange should be short, blue long; grey is the frame. Thin lines are "
        "95 % intervals.",
        lambda subject, _, width: figures.bars(subject, width),
    ),
    "gap": (
        "The modality gap",
        "The same people asked with their picture and in words alone. A long line on the forget side is knowledge "
        "that went from one modality and stayed in the other.",
        lambda subject, _, width: figures.gap(subject, width),
    ),
    "people": (
        "Who is still remembered",
        "Each column is a person of the forget set; the stronger the colour, the more is answered right. Blank: "
        "shown as few-shot example, so not asked.",
        lambda subject, _, width: people_figures.people(subject, width),
    ),
    "losses": (
        "Losses in training",
        "The terms of each method's loss as logged; scales differ between methods.",
        lambda _, trainings, width: people_figures.losses(trainings, width),
    ),
    "cost": (
        "Time and memory",
        "As recorded by each run; other work on the machine is in these numbers, too. Memory is the peak of the "
        "process on a CPU, and what was allocated on a GPU.",
        lambda subject, trainings, width: people_figures.cost(subject, trainings, width),
    ),
}
