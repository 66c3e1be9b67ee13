"""Who is asked about, who is shown as example, and which picture: the draws of the official code."""

import functools
import random

from mllmu_tasks.benchmarks.mllmu.golds import UNSCORABLE
from mllmu_tasks.benchmarks.mllmu.layout import LAYOUT
from mllmu_tasks.benchmarks.mllmu.settings import Settings
from mllmu_tasks.benchmarks.mllmu.spec import (
    FULL_CONFIG,
    TEST_CONFIG,
    VOCABULARY,
    Split,
    config_of,
    forget_config,
)
from mllmu_tasks.benchmarks.mllmu.splits import check_known, check_split, undivided
from mllmu_tasks.benchmarks.questions import LeafQuestions, LeftOut, lay_out, refuse_lost_questions, usual_count
from mllmu_tasks.benchmarks.vocabulary import Leaf
from mllmu_tasks.data.missing import counted, refuse_losses
from mllmu_tasks.data.people import Modality, Person, Question
from mllmu_tasks.data.source import Source, open_source
from mllmu_tasks.errors import UserError


@functools.lru_cache(maxsize=4)
def leaf_questions(leaf: Leaf, settings: Settings) -> LeafQuestions:
    """The questions of a leaf under the given settings. The last few are kept: to lay them out again is cheap, and
    the rows of all leaves would take more memory than the people they are about."""
    return build_leaf(open_source(settings.data, LAYOUT), leaf, settings)


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
    images = _draw_images(source, leaf, people, rng)
    laid = lay_out(source, leaf, VOCABULARY.task(leaf.task), people, shots, images)
    left_out += laid.left_out
    refuse_lost_questions(leaf, left_out, len(laid.rows), settings.may_lose)
    configs = {config_of(leaf), *([FULL_CONFIG] if shots else [])}
    if leaf.split == Split.TEST:
        configs.add(forget_config(leaf.ratio))
    forget = source.people(forget_config(leaf.ratio)) if leaf.wanted_low else None
    return LeafQuestions(
        leaf=leaf,
        source=source,
        config=config_of(leaf),
        rows=laid.rows,
        shots=tuple(dict.fromkeys(person.id for person, _ in shots)),
        left_out=tuple(left_out),
        configs=tuple(sorted(configs)),
        letters_read=laid.letters_read,
        whom=None if forget is None else tuple(sorted(person.id for person in forget)),
        unscorable=sum(item.reason in UNSCORABLE.values() for item in left_out),
        settings={
            "seed": settings.seed,
            "shots": list(settings.shots),
            "shot_questions": settings.shot_questions,
        },
    )


def _people(source: Source, leaf: Leaf, settings: Settings) -> tuple[list[Person], list[str], list[LeftOut]]:
    """Who is asked about (row order), the ids that are drawn from, and who is missing."""
    people = source.people(config_of(leaf))
    ids = [person.id for person in people]
    left_out: list[LeftOut] = []
    if leaf.split == Split.TEST:
        ids = [person.id for person in source.people(forget_config(leaf.ratio))]
        asked = set(ids)
        people = [person for person in people if person.id in asked]
        there = {person.id for person in people}
        usual = usual_count(people, leaf)
        left_out = [LeftOut(i, None, f"not in {TEST_CONFIG}", usual) for i in ids if i not in there]
    if leaf.split in (Split.FORGET, Split.TEST):
        check_known(source, forget_config(leaf.ratio), ids)
    if leaf.split == Split.RETAIN:
        check_split(source, leaf.ratio)
        absent = undivided(source, leaf.ratio)
        refuse_losses(
            f"{config_of(leaf)} of data '{source.name}'",
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
    if not count or leaf.split == Split.REAL:
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
    if leaf.split != Split.TEST:
        return {}
    source.want_images(people)
    drawn = {}
    for person in people:
        count = source.image_count(person)
        if count:
            drawn[person.id] = rng.choice(range(count))
    return drawn
