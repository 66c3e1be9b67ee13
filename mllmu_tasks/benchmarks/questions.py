"""People -> the question rows of a leaf, without images; what is left out is counted and named."""

import functools
import json
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from mllmu_tasks.benchmarks.vocabulary import Leaf, TaskSpec
from mllmu_tasks.data.missing import counted, may_lose, refuse_losses
from mllmu_tasks.data.people import Modality, Person, Question
from mllmu_tasks.data.source import Source

NAMED = 20
"""At most so many left-out questions are named in the results; all are counted."""


@dataclass(frozen=True)
class LeftOut:
    """A question (index None: all of the person's) that is not scored, and why.

    lost: for how many questions it stands that would be scored otherwise: 0 for one that is shown as an example.
    """

    person: str
    index: int | None
    reason: str
    lost: int = 1


@dataclass(frozen=True)
class LeafQuestions:
    """The questions of one leaf.

    rows: what lmms-eval sees as documents, flat and without images. shots: people shown, in the order of the prompt.
    configs: what was read, for the data hash. letters_read: how many of the rows have a gold that is no bare letter
    in the data ("B."); the official code compares it raw and can never find such an answer right.
    whom: everyone whom the leaf's forget set names, those too who are shown or left out; None on other leaves.
    unscorable: how many were left out because no answer can be right. settings: what was drawn by.
    """

    leaf: Leaf
    source: Source
    config: str
    rows: tuple[dict, ...]
    shots: tuple[str, ...]
    left_out: tuple[LeftOut, ...]
    configs: tuple[str, ...]
    letters_read: int
    whom: tuple[str, ...] | None
    unscorable: int = 0
    settings: Mapping[str, Any] = field(default_factory=lambda: {"seed": 0, "shots": [], "shot_questions": None})

    @property
    def lost(self) -> int:
        """How many questions would be scored and are not."""
        return sum(item.lost for item in self.left_out)

    def facts(self) -> dict:
        """What a reader of the results must know; lands in every results file."""
        named = [f"{i.person}[{'all' if i.index is None else i.index}]: {i.reason}" for i in self.left_out]
        return {
            **self.leaf.columns(),
            "data": self.source.name,
            "data_hash": self.source.hash(self.configs),
            **self.settings,
            "shot_people": list(self.shots),
            "questions": len(self.rows),
            "people": len({row["person"] for row in self.rows}),
            "whole_data": self.source.whole(self.config),
            "whom": None if self.whom is None else list(self.whom),
            "gold_letters_read": self.letters_read,
            "lost": self.lost,
            "unscorable": self.unscorable,
            "left_out": counted((item.reason, 1) for item in self.left_out),
            "left_out_named": named[:NAMED],
        }


@dataclass(frozen=True)
class Rows:
    """Question rows of a leaf, what is left out of it, and how many golds are no bare letter in the data."""

    rows: tuple[dict, ...]
    left_out: tuple[LeftOut, ...]
    letters_read: int


def lay_out(
    source: Source,
    leaf: Leaf,
    task: TaskSpec,
    people: Sequence[Person],
    shots: Sequence[tuple[Person, Question]] = (),
    images: Mapping[str, int] | None = None,
) -> Rows:
    """A row for each question of these people that can be asked and is not shown as an example.

    images: person -> which image of the row is shown, default the first.
    """
    images = images or {}
    shown = {(person.id, question.slot) for person, question in shots}
    told = json.dumps([[person.config, person.id, question.slot] for person, question in shots])
    if leaf.modality is Modality.IMAGE:
        source.want_images(people)
    rows: list[dict] = []
    left_out: list[LeftOut] = []
    letters_read, usual = 0, usual_count(people, leaf)
    for person in people:
        image = images.get(person.id, 0)
        unseen = source.image_problem(person, image) if leaf.modality is Modality.IMAGE else None
        questions = tuple(person.of(leaf.task, leaf.modality))
        unread = [why for name, why in person.unread if name == leaf.task]
        left_out += [LeftOut(person.id, None, why) for why in unread]
        if not questions and not unread:
            left_out.append(LeftOut(person.id, None, f"no {leaf.task} {leaf.modality} question", usual))
        for question in questions:
            if (person.id, question.slot) in shown:
                left_out.append(LeftOut(person.id, question.index, "shown as example", 0))
            elif question.defect or unseen:
                left_out.append(LeftOut(person.id, question.index, question.defect or unseen))
            else:
                rows.append(_row(leaf, task, person, question, image, told))
                letters_read += question.gold != question.stored_gold
    return Rows(tuple(rows), tuple(left_out), letters_read)


def usual_count(people: Iterable[Person], leaf: Leaf) -> int:
    """How many questions of the leaf most people have, at least 1: what a person without any has lost."""
    counts = Counter(sum(1 for _ in person.of(leaf.task, leaf.modality)) for person in people)
    return max(1, counts.most_common(1)[0][0]) if counts else 1


def refuse_lost_questions(leaf: Leaf, left_out: Sequence[LeftOut], asked: int, bound: float) -> None:
    """Raise UserError if more than `bound` of the questions that would be scored are left out."""
    why = counted((item.reason, item.lost) for item in left_out if item.lost)
    refuse_losses(leaf.name, "questions", sum(item.lost for item in left_out), asked, why, bound)


@functools.lru_cache(maxsize=4)
def ask_everyone(source: Source, leaf: Leaf, config: str, task: TaskSpec) -> LeafQuestions:
    """Every question of everyone in `config`, without examples. Raises UserError."""
    people = source.people(config)
    laid = lay_out(source, leaf, task, people)
    refuse_lost_questions(leaf, laid.left_out, len(laid.rows), may_lose())
    whom = tuple(sorted(person.id for person in people)) if leaf.wanted_low else None
    return LeafQuestions(leaf, source, config, laid.rows, (), laid.left_out, (config,), laid.letters_read, whom)


def _row(leaf: Leaf, task: TaskSpec, person: Person, question: Question, image: int, shots: str) -> dict:
    return {
        "leaf": leaf.name,
        "person": person.id,
        **leaf.columns(),
        "config": person.config,
        "question_index": question.index,
        "slot": question.slot,
        "image_index": image,
        "question": question.text,
        "gold": question.gold,
        "options": json.dumps(dict(question.options), ensure_ascii=False) if question.options else "",
        "first_letter": task.first_letter,
        "shots": shots,
    }
