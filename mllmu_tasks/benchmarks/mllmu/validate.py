"""A look over a whole data set: what it holds, and everything that is wrong with it."""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from mllmu_tasks.benchmarks.mllmu.questions import build_leaf
from mllmu_tasks.benchmarks.mllmu.settings import Settings
from mllmu_tasks.benchmarks.mllmu.spec import (
    CONFIGS,
    FULL_CONFIG,
    RATIOS,
    REAL_CONFIG,
    TEST_CONFIG,
    TRAIN_CONFIG,
    Task,
    config_of,
    forget_config,
    leaves,
    retain_config,
)
from mllmu_tasks.benchmarks.mllmu.splits import check_known, undivided
from mllmu_tasks.benchmarks.mllmu.training_rows import check_pairs
from mllmu_tasks.data.people import Defect, Modality, Person, TrainingRow
from mllmu_tasks.data.request import CONFIGS as REQUEST_CONFIGS
from mllmu_tasks.data.request import is_request
from mllmu_tasks.data.source import Source
from mllmu_tasks.errors import UserError

TRAINED = (FULL_CONFIG, *map(forget_config, RATIOS), *map(retain_config, RATIOS))
"""Whose people are a side of some training."""


@dataclass(frozen=True)
class ConfigReport:
    """people: rows of the config. questions: how many can be scored, by (task, modality)."""

    config: str
    people: int
    questions: dict[tuple[Task, Modality], int] = field(default_factory=dict)
    pairs: int = 0


@dataclass(frozen=True)
class Report:
    """structural: what makes the data unusable, a sentence each. defects: what is left out or odd. notes: other."""

    configs: tuple[ConfigReport, ...]
    structural: tuple[str, ...]
    defects: tuple[Defect, ...]
    notes: tuple[str, ...]


def validate(source: Source, progress: Callable[[str], None] = lambda config: None) -> Report:
    """Read all configs, every image included, and collect every problem instead of stopping at the first.

    What evaluation and training would refuse (their own guards say it) is structural.
    """
    reports, structural, notes = [], [], []
    defects: list[Defect] = []
    people: dict[str, tuple[Person, ...]] = {}
    bound = Settings.from_environment().may_lose
    for config in REQUEST_CONFIGS if is_request(source.name) else CONFIGS:
        progress(config)
        try:
            if config == TRAIN_CONFIG:
                reports.append(_training(source, people, bound, structural, defects))
                continue
            people[config] = source.people(config)
        except UserError as error:
            if config == TRAIN_CONFIG and not _has(source, config):
                notes.append(f"no {TRAIN_CONFIG}: fine for evaluation, but there is nothing to train on.")
            else:
                structural.append(str(error))
            continue
        counts = Counter((q.task, q.modality) for p in people[config] for q in p.questions if not q.defect)
        reports.append(ConfigReport(config, len(people[config]), dict(counts)))
        defects += [*source.defects(config), *_options(people[config]), *_images(source, people[config], structural)]
    progress("the tasks")
    structural += _leaves(source, people, bound)
    defects += [*_missing_tests(people), *_undivided(source, people)]
    notes += _namesakes(people)
    return Report(tuple(reports), tuple(dict.fromkeys(structural)), tuple(defects), tuple(notes))


def _training(
    source: Source, people: Mapping[str, tuple[Person, ...]], bound: float, structural: list[str], defects: list[Defect]
) -> ConfigReport:
    """The training pairs, each image looked at. Raises UserError if they cannot be read."""
    rows = source.training_rows(TRAIN_CONFIG)
    source.want_images(rows)
    lost = {}
    for row in rows:
        problem = source.image_problem_of_row(TRAIN_CONFIG, row.row, decode=True)
        lost[row] = (*row.left_out, *([problem] * len(row.pairs) if problem else ()))
        defects += [Defect(TRAIN_CONFIG, row.person, f"row {row.row}", reason) for reason in dict.fromkeys(lost[row])]
    try:
        if FULL_CONFIG in people:
            check_known(source, TRAIN_CONFIG, {row.person for row in rows})
            defects += _check_sides(people, lost, bound, structural)
    except UserError as error:
        structural.append(str(error))
    return ConfigReport(TRAIN_CONFIG, len(rows), pairs=sum(len(row.pairs) for row in rows))


def _check_sides(
    people: Mapping[str, tuple[Person, ...]],
    lost: Mapping[TrainingRow, Sequence[str]],
    bound: float,
    structural: list[str],
) -> list[Defect]:
    """What training on a side would refuse; and the people of `Full_Set` without a row."""
    everyone, named = [person.id for person in people[FULL_CONFIG]], {row.person for row in lost}
    for config in (config for config in TRAINED if config in people):
        side = {person.id for person in people[config]} & set(everyone)
        try:
            of_side = {row: reasons for row, reasons in lost.items() if row.person in side}
            check_pairs(f"the training pairs of {config}", side, of_side, bound)
        except UserError as error:
            structural.append(str(error))
    return [Defect(TRAIN_CONFIG, i, "row", "there is none") for i in everyone if i not in named]


def _leaves(source: Source, people: Mapping[str, tuple[Person, ...]], bound: float) -> list[str]:
    """What the tasks would refuse to ask. Configs that could not be read have said so already."""
    found = []
    settings = Settings(data=source.name, shots=(0, 0), may_lose=bound)
    for leaf in leaves():
        beside = [] if leaf.ratio is None else [FULL_CONFIG, forget_config(leaf.ratio)]
        if all(config in people for config in (config_of(leaf), *beside)):
            try:
                build_leaf(source, leaf, settings)
            except UserError as error:
                found.append(str(error))
    return found


def _has(source: Source, config: str) -> bool:
    try:
        return bool(source.files(config))
    except UserError:
        return False


def _options(people: tuple[Person, ...]) -> list[Defect]:
    return [
        Defect(p.config, p.id, f"{q.task} {q.modality} question {q.index}", f"option {letter} is missing")
        for p in people
        for q in p.questions
        for letter, text in q.options
        if text is None
    ]


def _images(source: Source, people: tuple[Person, ...], structural: list[str]) -> list[Defect]:
    found = []
    try:
        source.want_images(people)
        for person in people:
            count = source.image_count(person)
            if not count:
                found.append(Defect(person.config, person.id, "image", "there is none"))
            for index in range(count):
                if problem := source.image_problem(person, index, decode=True):
                    found.append(Defect(person.config, person.id, f"image {index}", problem))
    except UserError as error:
        structural.append(str(error))
    return found


def _undivided(source: Source, people: Mapping[str, tuple[Person, ...]]) -> list[Defect]:
    """People of `Full_Set` whom no retain and no forget task of a ratio asks about."""
    return [
        Defect(FULL_CONFIG, person, "row", f"is neither in {forget_config(ratio)} nor in {retain_config(ratio)}")
        for ratio in RATIOS
        if {FULL_CONFIG, forget_config(ratio), retain_config(ratio)} <= set(people)
        for person in undivided(source, ratio)
    ]


def _namesakes(people: dict[str, tuple[Person, ...]]) -> list[str]:
    """Celebrities whom the official code would take for fictitious people, by their ids."""
    full = {person.id for person in people.get(FULL_CONFIG, ())}
    if both := [person.id for person in people.get(REAL_CONFIG, ()) if person.id in full]:
        return [
            f"{len(both)} ids of {REAL_CONFIG} are in {FULL_CONFIG}, too ({', '.join(both[:5])}): the official code "
            "would show those people as examples to celebrities; here celebrities are asked without examples."
        ]
    return []


def _missing_tests(people: dict[str, tuple[Person, ...]]) -> list[Defect]:
    if TEST_CONFIG not in people:
        return []
    there = {person.id for person in people[TEST_CONFIG]}
    return [
        Defect(TEST_CONFIG, person.id, "row", f"of {config} is missing; the rest is scored")
        for config in map(forget_config, RATIOS)
        for person in people.get(config, ())
        if person.id not in there
    ]
