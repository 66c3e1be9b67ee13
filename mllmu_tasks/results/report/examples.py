"""Answers side by side: a drawn sample of people, what was asked, the right answer, and what each row said."""

import base64
import io
import random
from collections.abc import Sequence
from dataclasses import dataclass

from mllmu_tasks.benchmarks.mllmu.spec import FULL_CONFIG, Leaf, Modality, Split, Task, config_of
from mllmu_tasks.data.people import Person
from mllmu_tasks.data.source import Source, open_source
from mllmu_tasks.errors import UserError
from mllmu_tasks.results.report.gather import Evaluations
from mllmu_tasks.results.runs import Sample

SEED = 0
PEOPLE, FEWER, MANY = 4, 2, 10
"""People a split, and how many if more than MANY rows answer."""
CHARACTERS = 300
PIXELS = 240
WEBP_QUALITY = 80


@dataclass(frozen=True)
class Answer:
    """What a row said to a question. right: its score."""

    row: str
    text: str
    right: float
    answered: bool


@dataclass(frozen=True)
class Asked:
    """One question with every row's answer; options by letter, "" without the data."""

    task: Task
    modality: Modality
    question: str
    gold: str
    answers: tuple[Answer, ...]


@dataclass(frozen=True)
class Example:
    """One person. picture: a small WebP as data URI, or "" without the data."""

    split: Split
    person: str
    picture: str
    asked: tuple[Asked, ...]


def draw(found: Evaluations, data: str | None = None) -> list[Example]:
    """A sample of the people that all rows were asked about, forget first, then retain; the same at each call.

    data: where the pictures and the options come from; None leaves them out. Raises UserError if the data are not
    those that were evaluated.
    """
    source = open_source(data) if data else None
    rng = random.Random(SEED)
    examples = []
    for split in (Split.FORGET, Split.RETAIN):
        if found.has(split):
            examples += _of_split(found, split, source, rng)
    return examples


def _of_split(found: Evaluations, split: Split, source: Source | None, rng: random.Random) -> list[Example]:
    places = {(task, modality): found.leaf(split, task, modality) for task in Task for modality in Modality}
    common = {key: _common(found, leaf) for key, leaf in places.items()}
    people = sorted({person for keys in common.values() for person, _ in keys})
    count = PEOPLE if len(found.rows) <= MANY else FEWER
    chosen = sorted(rng.sample(people, min(count, len(people))))
    records = _records(found, [leaf for key, leaf in places.items() if common[key]], source) if source else {}
    if source:
        source.want_images(records[person] for person in chosen)
    examples = []
    for person in chosen:
        asked = []
        for task in Task:
            keys = [(m, key) for m in Modality for key in sorted(common[task, m]) if key[0] == person]
            if keys:
                modality, key = rng.choice(keys)
                asked.append(_asked(found, places[task, modality], key, records.get(person)))
        picture = _picture(source, records[person]) if source else ""
        examples.append(Example(split, person, picture, tuple(asked)))
    return examples


def _common(found: Evaluations, leaf: Leaf) -> set[tuple[str, int]]:
    """The questions of a leaf that every row with this leaf was asked."""
    sets = [set(row.of(leaf)) for row in found.rows if row.of(leaf)]
    return set.intersection(*sets) if sets else set()


def _asked(found: Evaluations, leaf: Leaf, key: tuple[str, int], person: Person | None) -> Asked:
    samples = {row.name: row.of(leaf)[key] for row in found.rows if row.of(leaf)}
    one = next(iter(samples.values()))
    options = {}
    if person is not None and leaf.task is Task.CLASSIFICATION:
        stored = next(q for q in person.of(leaf.task, leaf.modality) if q.index == key[1])
        options = {letter: text for letter, text in stored.options if text}
    answers = [Answer(name, _said(s, options), s.score, s.answered) for name, s in samples.items()]
    return Asked(leaf.task, leaf.modality, cut(one.question), cut(_option(one.gold, options)), tuple(answers))


def _said(sample: Sample, options: dict[str, str]) -> str:
    if not sample.answered:
        return "(no answer)"
    return cut(_option(sample.prediction, options)) if sample.prediction else "(no letter)"


def _option(letter: str, options: dict[str, str]) -> str:
    return f"{letter}: {options[letter]}" if letter in options else letter


def cut(text: str) -> str:
    return text if len(text) <= CHARACTERS else f"{text[:CHARACTERS]}…"


def _records(found: Evaluations, leaves: Sequence[Leaf], source: Source) -> dict[str, Person]:
    """person -> record. Raises UserError if the source's content has another hash than the results say."""
    for leaf in leaves:
        row = next(row for row in found.rows if row.of(leaf))
        said = row.side.facts[leaf.name]
        configs = {config_of(leaf), *([FULL_CONFIG] if said.get("shot_people") else [])}
        if source.hash(configs) != said.get("data_hash"):
            raise UserError(
                f"--data {source.name} is not what {row.name} was asked about: {leaf.name} was evaluated on "
                f"'{said.get('data', 'unknown data')}' with hash {str(said.get('data_hash'))[:12]}."
            )
    return source.by_id(leaves[0].config) if leaves else {}


def _picture(source: Source, person: Person) -> str:
    """The person's picture, at most PIXELS high and wide, encoded anew so that nothing but pixels passes."""
    small = source.image(person).copy()
    small.thumbnail((PIXELS, PIXELS))
    out = io.BytesIO()
    small.save(out, format="WEBP", quality=WEBP_QUALITY)
    return f"data:image/webp;base64,{base64.b64encode(out.getvalue()).decode()}"
