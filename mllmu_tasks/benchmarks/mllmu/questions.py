"""Persons -> question rows without images: who is shown as example, what is asked, and what is left out."""

import functools
import json
import random
from collections import Counter
from dataclasses import dataclass

from mllmu_tasks.benchmarks.mllmu.golds import UNSCORABLE
from mllmu_tasks.benchmarks.mllmu.settings import Settings
from mllmu_tasks.benchmarks.mllmu.spec import (
    FULL_CONFIG,
    TEST_CONFIG,
    Leaf,
    Modality,
    Split,
    forget_config,
)
from mllmu_tasks.benchmarks.mllmu.splits import check_known, check_split, undivided
from mllmu_tasks.data.missing import counted, refuse_losses
from mllmu_tasks.data.people import Person, Question
from mllmu_tasks.data.source import Source, open_source
from mllmu_tasks.errors import UserError

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

    rows: what lmms-eval sees as documents, flat and without images. shots: people shown, Full_Set order.
    configs: what was read, for the data hash. letters_read: how many of the rows have a gold that is no bare letter
    in the data ("B."); the official code compares it raw and can never find such an answer right.
    """

    leaf: Leaf
    rows: tuple[dict, ...]
    shots: tuple[str, ...]
    left_out: tuple[LeftOut, ...]
    configs: tuple[str, ...]
    letters_read: int

    @property
    def lost(self) -> int:
        """How many questions would be scored and are not."""
        return sum(item.lost for item in self.left_out)

    def facts(self, source: Source, settings: Settings) -> dict:
        """What a reader of the results must know; lands in every results file."""
        named = [f"{i.person}[{'all' if i.index is None else i.index}]: {i.reason}" for i in self.left_out]
        return {
            "data": source.name,
            "data_hash": source.hash(self.configs),
            "seed": settings.seed,
            "shots": list(settings.shots),
            "shot_questions": settings.shot_questions,
            "shot_people": list(self.shots),
            "questions": len(self.rows),
            "people": len({row["person"] for row in self.rows}),
            "whole_data": source.whole(self.leaf.config),
            "whom": self._whom(source),
            "gold_letters_read": self.letters_read,
            "lost": self.lost,
            "unscorable": sum(item.reason in UNSCORABLE.values() for item in self.left_out),
            "left_out": counted((item.reason, 1) for item in self.left_out),
            "left_out_named": named[:NAMED],
        }

    def _whom(self, source: Source) -> list[str] | None:
        """Everyone of the forget set, those too who are shown or left out; None on retain and real."""
        if not self.leaf.wanted_low:
            return None
        return sorted(person.id for person in source.people(forget_config(self.leaf.ratio)))


@functools.lru_cache(maxsize=4)
def leaf_questions(leaf: Leaf, settings: Settings) -> LeafQuestions:
    """The questions of a leaf under the given settings. The last few are kept: to lay them out again is cheap, and
    the rows of all leaves would take more memory than the people they are about."""
    return build_leaf(open_source(settings.data), leaf, settings)


def build_leaf(source: Source, leaf: Leaf, settings: Settings) -> LeafQuestions:
    """Draw the examples, skip what they show, and lay out the rest. Raises UserError.

    The draws are those of the official code after `random.seed(S)`: one `sample` over the split's ids, then
    on the test split one `choice` of an image a row, in row order. What is left out is counted and named; a leaf that
    loses more than `settings.may_lose` of its questions or of its examples is an error.
    """
    rng = random.Random(settings.seed)
    people, ids, left_out = _people(source, leaf, settings)
    shots, hidden = _showable(source, leaf, settings, *_draw_shots(source, leaf, settings, ids, rng))
    left_out += hidden
    shown = {(person.id, question.slot) for person, question in shots}
    images = _draw_images(source, leaf, people, rng)
    shot_text = json.dumps([[person.id, question.slot] for person, question in shots])
    if leaf.modality is Modality.IMAGE:
        source.want_images(people)
    rows, letters_read = [], 0
    usual = _usual(people, leaf)
    for person in people:
        unseen = _image_problem(source, leaf, person, images)
        questions = tuple(person.of(leaf.task, leaf.modality))
        unread = [why for task, why in person.unread if task is leaf.task]
        left_out += [LeftOut(person.id, None, why) for why in unread]
        if not questions and not unread:
            left_out.append(LeftOut(person.id, None, f"no {leaf.task} {leaf.modality} question", usual))
        for question in questions:
            if (person.id, question.slot) in shown:
                left_out.append(LeftOut(person.id, question.index, "shown as example", 0))
            elif question.defect or unseen:
                left_out.append(LeftOut(person.id, question.index, question.defect or unseen))
            else:
                rows.append(_row(leaf, person, question, images.get(person.id, 0), shot_text))
                letters_read += question.gold != question.stored_gold
    configs = {leaf.config, *([FULL_CONFIG] if shots else [])}
    if leaf.split is Split.TEST:
        configs.add(forget_config(leaf.ratio))
    shot_people = tuple(dict.fromkeys(person.id for person, _ in shots))
    made = LeafQuestions(leaf, tuple(rows), shot_people, tuple(left_out), tuple(sorted(configs)), letters_read)
    why = counted((item.reason, item.lost) for item in left_out if item.lost)
    refuse_losses(leaf.name, "questions", made.lost, len(rows), why, settings.may_lose)
    return made


def _usual(people: list[Person], leaf: Leaf) -> int:
    """How many questions of the leaf most people have, at least 1: what a person without any has lost."""
    counts = Counter(sum(1 for _ in person.of(leaf.task, leaf.modality)) for person in people)
    return max(1, counts.most_common(1)[0][0]) if counts else 1


def _people(source: Source, leaf: Leaf, settings: Settings) -> tuple[list[Person], list[str], list[LeftOut]]:
    """Who is asked about (row order), the ids that are drawn from, and who is missing."""
    people = source.people(leaf.config)
    ids = [person.id for person in people]
    left_out: list[LeftOut] = []
    if leaf.split is Split.TEST:
        ids = [person.id for person in source.people(forget_config(leaf.ratio))]
        asked = set(ids)
        people = [person for person in people if person.id in asked]
        there = {person.id for person in people}
        usual = _usual(people, leaf)
        left_out = [LeftOut(i, None, f"not in {TEST_CONFIG}", usual) for i in ids if i not in there]
    if leaf.split in (Split.FORGET, Split.TEST):
        check_known(source, forget_config(leaf.ratio), ids)
    if leaf.split is Split.RETAIN:
        check_split(source, leaf.ratio)
        absent = undivided(source, leaf.ratio)
        refuse_losses(
            f"{leaf.config} of data '{source.name}'",
            "people",
            len(absent),
            len(ids),
            {f"in {FULL_CONFIG}, but neither there nor in {forget_config(leaf.ratio)}": len(absent)},
            settings.may_lose,
        )
    return list(people), ids, left_out


def _draw_shots(
    source: Source, leaf: Leaf, settings: Settings, ids: list[str], rng: random.Random
) -> tuple[list[tuple[Person, Question]], list[LeftOut]]:
    """The example questions in the order in which they are shown, and the people drawn who have none."""
    count = settings.shot_people(leaf.task)
    if not count or leaf.split is Split.REAL:
        # The official code draws celebrities, too, finds none of them in Full_Set, and draws nothing afterwards.
        return [], []
    if len(ids) <= count:
        raise UserError(
            f"{leaf.name}: {count} people are to be shown as examples, but the split has {len(ids)}; set "
            "MLLMU_SHOTS=0 for zero-shot questions, or a smaller count."
        )
    drawn = set(rng.sample(ids, count))
    shots = [
        (person, question)
        for person in source.people(FULL_CONFIG)
        if person.id in drawn
        for question in person.of(leaf.task, leaf.modality)
    ]
    bare = drawn - {person.id for person, _ in shots}
    reason = f"not shown as example, no {leaf.task} {leaf.modality} question"
    return shots[: settings.shot_questions], [LeftOut(i, None, reason, 0) for i in sorted(bare)]


def _showable(
    source: Source, leaf: Leaf, settings: Settings, shots: list[tuple[Person, Question]], hidden: list[LeftOut]
) -> tuple[list[tuple[Person, Question]], list[LeftOut]]:
    """The examples whose image can be read, and the others.

    Raises UserError if those are many: questions without their examples are other questions.
    """
    if leaf.modality is Modality.IMAGE:
        source.want_images(person for person, _ in shots)
        problems = {person.id: source.image_problem(person) for person, _ in shots}
        lost = [(p, q) for p, q in shots if problems[p.id]]
        hidden = hidden + [LeftOut(p.id, q.index, f"not shown as example, {problems[p.id]}", 0) for p, q in lost]
        shots = [(person, question) for person, question in shots if not problems[person.id]]
    why = counted((item.reason, 1) for item in hidden)
    refuse_losses(leaf.name, "examples", len(hidden), len(shots), why, settings.may_lose)
    return shots, hidden


def _draw_images(source: Source, leaf: Leaf, people: list[Person], rng: random.Random) -> dict[str, int]:
    if leaf.split is not Split.TEST:
        return {}
    source.want_images(people)
    drawn = {}
    for person in people:
        count = source.image_count(person)
        if count:
            drawn[person.id] = rng.choice(range(count))
    return drawn


def _image_problem(source: Source, leaf: Leaf, person: Person, images: dict[str, int]) -> str | None:
    if leaf.modality is not Modality.IMAGE:
        return None
    if leaf.split is Split.TEST and person.id not in images:
        return "the row holds no image"
    return source.image_problem(person, images.get(person.id, 0))


def _row(leaf: Leaf, person: Person, question: Question, image: int, shots: str) -> dict:
    return {
        "leaf": leaf.name,
        "person": person.id,
        "split": str(leaf.split),
        "ratio": leaf.ratio,
        "task": str(leaf.task),
        "modality": str(leaf.modality),
        "config": leaf.config,
        "question_index": question.index,
        "slot": question.slot,
        "image_index": image,
        "question": question.text,
        "gold": question.gold,
        "options": json.dumps(dict(question.options), ensure_ascii=False) if question.options else "",
        "shots": shots,
    }
