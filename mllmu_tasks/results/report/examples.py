"""Answers side by side: a drawn sample of people, what was asked, the right answer, and what each row said."""

import base64
import io
import random
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from PIL.Image import Image

from mllmu_tasks.errors import UserError
from mllmu_tasks.results.columns import FORGET, RETAIN, Leaf
from mllmu_tasks.results.options import read_options
from mllmu_tasks.results.report.gather import Study
from mllmu_tasks.results.runs import Sample

SEED = 0
PEOPLE, FEWER, MANY = 4, 2, 10
"""People a split, and how many if more than MANY rows answer."""
CHARACTERS = 300
PIXELS = 240
WEBP_QUALITY = 80


class Pictures(Protocol):
    """The data that leaves asked about, as far as examples need them."""

    name: str

    def data_hash(self, leaf: str, with_examples: bool) -> str:
        """Of the data of a leaf task, as its results file has it."""

    def show(self, leaf: str, people: Sequence[str]) -> dict[str, Image]:
        """person -> picture."""


@dataclass(frozen=True)
class Answer:
    """What a row said to a question. right: its score."""

    row: str
    text: str
    right: float
    answered: bool


@dataclass(frozen=True)
class Asked:
    """One question with every row's answer. by_degrees: whether a score may lie between right and wrong."""

    task: str
    modality: str
    question: str
    gold: str
    answers: tuple[Answer, ...]
    by_degrees: bool = False


@dataclass(frozen=True)
class Example:
    """One person. role: of the split. picture: a small WebP as data URI, or "" without the data."""

    split: str
    role: str
    person: str
    picture: str
    asked: tuple[Asked, ...]


def draw(found: Study, pictures: Pictures | None = None) -> list[Example]:
    """A sample of the people that all rows were asked about, forget first, then retain; the same at each call.

    Raises UserError if the pictures are not of the data that were evaluated.
    """
    rng = random.Random(SEED)
    examples = []
    for role in (FORGET, RETAIN):
        for split in found.splits_of(role)[:1]:
            examples += _of_split(found, split, pictures, rng)
    return examples


def _of_split(found: Study, split: str, pictures: Pictures | None, rng: random.Random) -> list[Example]:
    leaves = [leaf for (name, _, _), leaf in found.leaves.items() if name == split]
    common = {leaf: keys for leaf in leaves if (keys := _common(found, leaf))}
    people = sorted({person for keys in common.values() for person, _ in keys})
    count = PEOPLE if len(found.rows) <= MANY else FEWER
    chosen = sorted(rng.sample(people, min(count, len(people))))
    shown: dict[str, Image] = {}
    if pictures:
        _require_same(found, list(common), pictures)
        shown = pictures.show(next(iter(common)).name, chosen) if chosen else {}
    examples = []
    for person in chosen:
        asked = []
        for task in dict.fromkeys(leaf.task for leaf in leaves):
            of_task = [(leaf, keys) for leaf, keys in common.items() if leaf.task == task]
            keys = [(leaf, key) for leaf, keys in of_task for key in sorted(keys) if key[0] == person]
            if keys:
                asked.append(_asked(found, *rng.choice(keys)))
        picture = _encoded(shown[person]) if person in shown else ""
        examples.append(Example(split, found.role(split), person, picture, tuple(asked)))
    return examples


def _common(found: Study, leaf: Leaf) -> set[tuple[str, int]]:
    """The questions of a leaf that every row with this leaf was asked."""
    sets = [set(row.of(leaf)) for row in found.rows if row.of(leaf)]
    return set.intersection(*sets) if sets else set()


def _asked(found: Study, leaf: Leaf, key: tuple[str, int]) -> Asked:
    samples = {row.name: row.of(leaf)[key] for row in found.rows if row.of(leaf)}
    one = next(iter(samples.values()))
    options = {letter: text for letter, text in (read_options(one) or {}).items() if text}
    answers = [Answer(name, _said(s, options), s.score, s.answered) for name, s in samples.items()]
    by_degrees = any(sample.score not in (0, 1) for row in found.rows for sample in row.of(leaf).values())
    gold = cut(_option(one.gold, options))
    return Asked(leaf.task, leaf.modality, cut(one.question), gold, tuple(answers), by_degrees)


def _said(sample: Sample, options: dict[str, str]) -> str:
    if not sample.answered:
        return "(no answer)"
    return cut(_option(sample.prediction, options)) if sample.prediction else "(no letter)"


def _option(letter: str, options: dict[str, str]) -> str:
    return f"{letter}: {options[letter]}" if letter in options else letter


def cut(text: str) -> str:
    return text if len(text) <= CHARACTERS else f"{text[:CHARACTERS]}…"


def _require_same(found: Study, leaves: Sequence[Leaf], pictures: Pictures) -> None:
    """Raise UserError if the content of the data has another hash than the results say."""
    for leaf in leaves:
        row = next(row for row in found.rows if row.of(leaf))
        said = row.side.facts[leaf.name]
        if pictures.data_hash(leaf.name, bool(said.get("shot_people"))) != said.get("data_hash"):
            raise UserError(
                f"--data {pictures.name} is not what {row.name} was asked about: {leaf.name} was evaluated on "
                f"'{said.get('data', 'unknown data')}' with hash {str(said.get('data_hash'))[:12]}."
            )


def _encoded(picture: Image) -> str:
    """At most PIXELS high and wide, encoded anew so that nothing but pixels passes."""
    small = picture.copy()
    small.thumbnail((PIXELS, PIXELS))
    out = io.BytesIO()
    small.save(out, format="WEBP", quality=WEBP_QUALITY)
    return f"data:image/webp;base64,{base64.b64encode(out.getvalue()).decode()}"
