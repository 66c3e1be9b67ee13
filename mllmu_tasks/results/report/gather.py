"""Output folders of lmms-eval -> the rows of a report, with everything that a reader must be warned of."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from functools import cached_property
from pathlib import Path

from mllmu_tasks.errors import UserError, did_you_mean
from mllmu_tasks.results.columns import ARROWS, USUAL_RATIO, Leaf, benchmarks_of
from mllmu_tasks.results.gate.evaluation import Evaluation, Problem, grouped, incomparable, side_of
from mllmu_tasks.results.gate.pinned import verify
from mllmu_tasks.results.runs import Run, Sample, load_run, results_files
from mllmu_tasks.results.validity import Flaw, Weight, explain, row_flaws

LEAST_ANSWERED = 0.95
VANILLA = ("vanilla",)
REFERENCE = ("retain_only", "retain-only")


class RowKind(StrEnum):
    """What a row is: the model before unlearning, the one that never met the people, or a method between them."""

    VANILLA = "vanilla"
    REFERENCE = "reference"
    METHOD = "method"


@dataclass(frozen=True)
class Place:
    """A column: modality None pools all of them; metric "" is the task's score. low_is_good: None where neither is."""

    split: str
    task: str
    modality: str | None = None
    metric: str = ""
    low_is_good: bool | None = field(default=None, compare=False)

    @property
    def arrow(self) -> str:
        return ARROWS[self.low_is_good]


@dataclass(frozen=True)
class Row:
    """One evaluated model."""

    name: str
    kind: RowKind
    side: Evaluation

    @cached_property
    def flaws(self) -> dict[str, tuple[Flaw, ...]]:
        """leaf name -> what is wrong with its scores."""
        return row_flaws(self.side.runs)

    @cached_property
    def answers(self) -> dict[str, dict[tuple[str, int], Sample]]:
        """leaf name -> (person, question index) -> the scored question; without leaves whose files are damaged."""
        return {
            leaf: {(sample.person, sample.question_index): sample for sample in samples}
            for leaf, samples in self.side.samples.items()
            if not any(flaw.weight is Weight.DAMAGE for flaw in self.flaws[leaf])
        }

    def of(self, leaf: Leaf | None) -> dict[tuple[str, int], Sample]:
        return self.answers.get(leaf.name, {}) if leaf else {}

    def is_void(self, leaf: Leaf | None) -> bool:
        """Whether the leaf's scores are no result."""
        return leaf is not None and any(flaw.void for flaw in self.flaws.get(leaf.name, ()))

    def is_part(self, leaf: Leaf | None) -> bool:
        """Whether the leaf's scores stand for a part of its questions."""
        return leaf is not None and any(not flaw.void for flaw in self.flaws.get(leaf.name, ()))

    @property
    def void(self) -> list[Flaw]:
        return [flaw for flaws in self.flaws.values() for flaw in flaws if flaw.void]


@dataclass(frozen=True)
class Study:
    """All rows: vanilla first, then retain-only, then the methods in the order given.

    failed: what is no result at all. warnings: what is wrong with the rows; incomparable: why the rows must not be
    compared with each other.
    """

    rows: tuple[Row, ...]
    ratio: int
    failed: tuple[str, ...]
    warnings: tuple[str, ...]
    incomparable: tuple[str, ...]

    def one(self, role: RowKind) -> Row | None:
        return next((row for row in self.rows if row.kind is role), None)

    @property
    def methods(self) -> tuple[Row, ...]:
        return tuple(row for row in self.rows if row.kind is RowKind.METHOD)

    @cached_property
    def leaves(self) -> dict[tuple[str, str, str], Leaf]:
        """(split, task, modality) -> leaf, in the order of columns; of several benchmarks splits bear their names."""
        every = [leaf for row in self.rows for run in row.side.runs for leaf in run.leaves]
        leaves = {leaf: leaf for leaf in sorted(every, key=lambda leaf: len(leaf.joined))}.values()
        many = len(benchmarks_of(leaves)) > 1
        named = [(f"{leaf.benchmark} {leaf.split}" if many else leaf.split, leaf) for leaf in leaves]
        named.sort(key=lambda pair: pair[1].sorting)
        return {(split, leaf.task, leaf.modality): leaf for split, leaf in named}

    @property
    def splits(self) -> list[str]:
        return list(dict.fromkeys(split for split, _, _ in self.leaves))

    @property
    def tasks(self) -> list[str]:
        return list(dict.fromkeys(task for _, task, _ in self.leaves))

    @property
    def modalities(self) -> list[str]:
        return list(dict.fromkeys(modality for leaf in self.leaves.values() for modality in leaf.modalities))

    @property
    def joined(self) -> list[str]:
        """Metrics that were joined to some run."""
        leaves = [leaf for row in self.rows for run in row.side.runs for leaf in run.leaves]
        return list(dict.fromkeys(metric.name for leaf in leaves for metric in leaf.joined))

    def splits_of(self, role: str) -> list[str]:
        """Those of a role with a question, or with scores that are no result."""
        return [split for split in self.splits if self.role(split) == role and self.has(split)]

    def role(self, split: str) -> str:
        return next(leaf.role for (name, _, _), leaf in self.leaves.items() if name == split)

    def leaf(self, split: str, task: str, modality: str) -> Leaf | None:
        return self.leaves.get((split, task, modality))

    def place(self, split: str, task: str, modality: str | None = None, metric: str = "") -> Place:
        leaves = [leaf for key, leaf in self.leaves.items() if key[:2] == (split, task)]
        found = [leaf.metric(metric) if metric else leaf.score for leaf in leaves]
        measured = next((m for m in found if m), None)
        return Place(split, task, modality, metric, measured.wants_low(leaves[0].role) if measured else None)

    def leaves_at(self, place: Place) -> list[Leaf | None]:
        """One a modality; None where nobody was asked."""
        one = next((leaf for key, leaf in self.leaves.items() if key[:2] == (place.split, place.task)), None)
        modalities = [place.modality] if place.modality else one.modalities if one else []
        return [self.leaf(place.split, place.task, modality) for modality in modalities]

    def has(self, split: str) -> bool:
        leaves = [leaf for (name, _, _), leaf in self.leaves.items() if name == split]
        return any(row.of(leaf) or row.is_void(leaf) for row in self.rows for leaf in leaves)


def gather(paths: Sequence[Path], vanilla: str | None = None, reference: str | None = None) -> Study:
    """Read everything. Raises UserError if there is no result, more than one forget ratio, or no row of that name."""
    loaded, failed, older = _load(paths)
    if not loaded:
        raise UserError(f"there is nothing to report on: {'; '.join(failed)}")
    ratios = sorted({leaf.ratio for _, runs in loaded for run in runs for leaf in run.leaves if leaf.ratio})
    if len(ratios) > 1:
        raise UserError(f"results of forget ratios {', '.join(map(str, ratios))} are about different people; give one.")
    names = _names(loaded)
    roles = _roles(names, vanilla, reference)
    rows = [
        Row(name, roles.get(name, RowKind.METHOD), side_of(name, tuple(runs), LEAST_ANSWERED))
        for name, (_, runs) in zip(names, loaded, strict=True)
    ]
    rows.sort(key=lambda row: list(RowKind).index(row.kind))
    said = {(row.name, flaw.leaf, flaw.text) for row in rows for flaw in row.void}
    problems = [p for row in rows for p in row.side.problems if (p.side, p.leaf, p.text) not in said]
    problems += [Problem(row.name, "", text) for row in rows for text in _missing(row, rows)]
    apart = [problem for row in rows[1:] for problem in incomparable(rows[0].side, row.side)]
    return Study(
        rows=tuple(rows),
        ratio=ratios[0] if ratios else USUAL_RATIO,
        failed=(*failed, *("; ".join(explain({row.name: row.void})) for row in rows if row.void)),
        warnings=(*_joined(problems), *older),
        incomparable=tuple(f"{line} ({rows[0].name})" for line in _joined(apart)),
    )


def _load(paths: Sequence[Path]) -> tuple[list[tuple[Path, list[Run]]], list[str], list[str]]:
    """One entry a model and path, with the newest run of each leaf; what could not be read; what is left out."""
    loaded: list[tuple[Path, list[Run]]] = []
    failed: list[str] = []
    older: list[str] = []
    for path in paths:
        verify(path)
        models: dict[tuple[str, str], list[Run]] = {}
        for file in sorted(results_files(path), key=lambda file: file.name, reverse=True):  # newest first
            try:
                run = load_run(file)
            except UserError as error:
                failed.append(str(error))
                continue
            if not run.leaves:
                continue
            mine = models.setdefault((run.model, run.model_args), [])
            if {leaf for other in mine for leaf in other.leaves} & set(run.leaves):
                older.append(f"{run.name}: '{file}' is older than another evaluation of the same, and left out")
            else:
                mine.append(run)
        if not models and not any(str(path) in text for text in failed):
            failed.append(f"'{path}' holds no results of MLLMU tasks: the run failed or was killed; read its log")
        loaded += [(path, runs) for runs in reversed(models.values())]
    return loaded, failed, older


def _names(loaded: Sequence[tuple[Path, list[Run]]]) -> list[str]:
    """The model's or adapter's folder name; the results folder's where two are equal; numbered if still equal."""
    names = [runs[0].name for _, runs in loaded]
    folders = [path.resolve().name for path, _ in loaded]
    if len(set(folders)) == len(folders):
        names = [f if names.count(n) > 1 else n for n, f in zip(names, folders, strict=True)]
    return [n if names.count(n) == 1 else f"{n} ({names[: i + 1].count(n)})" for i, n in enumerate(names)]


def _roles(names: Sequence[str], vanilla: str | None, reference: str | None) -> dict[str, RowKind]:
    roles: dict[str, RowKind] = {}
    for role, wanted, usual in ((RowKind.REFERENCE, reference, REFERENCE), (RowKind.VANILLA, vanilla, VANILLA)):
        if wanted is not None and wanted not in names:
            raise UserError(f"--{role} {wanted}: there is no row of that name.{did_you_mean(wanted, names)}")
        found = wanted or next((name for name in usual if name in names), None)
        if found:
            roles[found] = role
    return roles


def _joined(problems: Sequence[Problem]) -> tuple[str, ...]:
    """One line for problems that differ in the row or the leaf only."""
    rows: dict[str, list[str]] = {}
    for line in grouped(problems):
        side = next(problem.side for problem in problems if line.startswith(f"{problem.side}: "))
        rows.setdefault(line.removeprefix(f"{side}: "), []).append(side)
    return tuple(f"{_listed(sides)}: {text}" for text, sides in rows.items())


def _listed(names: Sequence[str]) -> str:
    return ", ".join(names) if len(names) < 5 else f"{', '.join(names[:3])} and {len(names) - 3} more"


def _missing(row: Row, rows: Sequence[Row]) -> list[str]:
    everything = {leaf for other in rows for leaf in other.side.samples}
    missing = sorted(everything - set(row.side.samples))
    if not missing:
        return []
    more = f" and {len(missing) - 3} more" if len(missing) > 3 else ""
    return [f"{', '.join(missing[:3])}{more} not evaluated"]
