"""The benchmark's own questions of `Full_Set` as training samples, in the chat rendering of the evaluation.

Only behind `--benchmark_questions`, and recorded on the card: whoever trains on them tests what was memorised.
"""

import random
from collections.abc import Collection

from mllmu_tasks.benchmarks.mllmu.prompts import chat_answer, chat_text
from mllmu_tasks.benchmarks.mllmu.settings import Settings
from mllmu_tasks.benchmarks.mllmu.spec import FULL_CONFIG, Modality, Task
from mllmu_tasks.data.missing import counted, refuse_losses
from mllmu_tasks.data.people import Person, Question
from mllmu_tasks.data.source import Source
from mllmu_tasks.errors import UserError
from mllmu_unlearn.toolbox.samples import ImageRef, Sample, Turn


def benchmark_samples(
    source: Source,
    people: Collection[str],
    modalities: Collection[str],
    *,
    shots: int,
    seed: int,
    settings: Settings | None = None,
) -> list[Sample]:
    """Every question of these people that can be scored; and `shots` times more behind few-shot turns, if the
    benchmark asks it that way, each time with other people (these rows are six times as long).

    The people shown are drawn for each row anew, among `people` only, so that a retain-only model never sees
    anyone else; for the same reason every answer of such a row has labels, those of the shots, too. settings: those of
    the environment unless given.
    Raises UserError if too few people are left to be shown, or too many questions cannot be asked.
    """
    settings, chosen = settings or Settings.from_environment(), set(people)
    everyone = [person for person in source.people(FULL_CONFIG) if person.id in chosen]
    unseen = _unseen(source, everyone) if "image" in modalities else {}
    lost: list[tuple[str, int]] = []
    samples = []
    for person in everyone:
        for task in Task:
            for modality in map(Modality, modalities):
                problem = unseen.get(person.id) if modality is Modality.IMAGE else None
                defects = {q: q.defect or problem for q in person.of(task, modality)}
                questions = [q for q, defect in defects.items() if not defect]
                lost += [(defect, 1) for defect in defects.values() if defect]
                samples += [Sample(person.id, (_turn(source, person, q),), "benchmark") for q in questions]
                if not shots or not settings.shot_people(task):
                    continue
                rng = random.Random(f"{seed}/{person.id}/{task}/{modality}")
                for question in questions * shots:
                    visible = [p for p in everyone if modality is Modality.TEXT or p.id not in unseen]
                    shown = _shots(source, visible, person, question, settings, rng)
                    turns = (*shown, _turn(source, person, question))
                    samples.append(Sample(person.id, turns, "benchmark", learnt=len(turns)))
    asked = sum(len(sample.turns) == 1 for sample in samples)
    why = counted(lost)
    refuse_losses(f"{FULL_CONFIG} of {source.name}", "benchmark questions", len(lost), asked, why, settings.may_lose)
    return samples


def _unseen(source: Source, people: list[Person]) -> dict[str, str]:
    """Whose image cannot be read: id -> why."""
    source.want_images(people)
    return {person.id: problem for person in people if (problem := source.image_problem(person))}


def _turn(source: Source, person: Person, question: Question) -> Turn:
    image = ImageRef(source, FULL_CONFIG, person.id) if question.modality is Modality.IMAGE else None
    return Turn(chat_text(question), chat_answer(question), image)


def _shots(
    source: Source, everyone: list[Person], asked: Person, question: Question, settings: Settings, rng: random.Random
) -> list[Turn]:
    """All questions of the task of as many other people as the benchmark shows, in `Full_Set` order."""
    count = settings.shot_people(question.task)
    others = [person for person in everyone if person.id != asked.id]
    if len(others) < count:
        raise UserError(f"{count} people are to be shown as examples, but only {len(others)} others are trained on.")
    drawn = {person.id for person in rng.sample(others, count)}
    turns = [
        _turn(source, person, shot)
        for person in others
        if person.id in drawn
        for shot in person.of(question.task, question.modality)
        if not shot.defect
    ]
    return turns[: settings.shot_questions]
