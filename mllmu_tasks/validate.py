"""A look over a whole data set: what it holds, and everything that is wrong with it."""

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field

from mllmu_tasks.benchmark import (
    CONFIGS,
    FULL_CONFIG,
    RATIOS,
    REAL_CONFIG,
    TEST_CONFIG,
    TRAIN_CONFIG,
    Modality,
    Task,
    forget_config,
    retain_config,
)
from mllmu_tasks.errors import UserError
from mllmu_tasks.people import Defect, Person
from mllmu_tasks.request import CONFIGS as REQUEST_CONFIGS
from mllmu_tasks.request import is_request
from mllmu_tasks.source import Source


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
    """Read all configs, every image included, and collect every problem instead of stopping at the first."""
    reports, structural, notes = [], [], []
    defects: list[Defect] = []
    people: dict[str, tuple[Person, ...]] = {}
    for config in REQUEST_CONFIGS if is_request(source.name) else CONFIGS:
        progress(config)
        try:
            if config == TRAIN_CONFIG:
                rows = source.training_rows(config)
                reports.append(ConfigReport(config, len(rows), pairs=sum(len(row.pairs) for row in rows)))
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
    structural += _splits(people)
    defects += _missing_tests(people)
    notes += _namesakes(people)
    return Report(tuple(reports), tuple(dict.fromkeys(structural)), tuple(defects), tuple(notes))


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


def _splits(people: dict[str, tuple[Person, ...]]) -> list[str]:
    """What must hold between configs. Configs that could not be read have said so already."""
    found = []
    ids = {config: {person.id for person in rows} for config, rows in people.items()}
    for ratio in RATIOS:
        forget, retain = ids.get(forget_config(ratio), set()), ids.get(retain_config(ratio), set())
        if both := sorted(forget & retain):
            found.append(f"{forget_config(ratio)} and {retain_config(ratio)} share people: {', '.join(both[:5])}.")
        if FULL_CONFIG in ids and (unknown := sorted(forget - ids[FULL_CONFIG])):
            found.append(f"{forget_config(ratio)} names people who are not in {FULL_CONFIG}: {', '.join(unknown[:5])}.")
    return found


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
