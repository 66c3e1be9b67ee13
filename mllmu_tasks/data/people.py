"""The typed records that leave `source.py`: a person, and the questions about that person."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from enum import StrEnum


class Modality(StrEnum):
    """Whether a question is asked beside an image."""

    IMAGE = "image"
    TEXT = "text"


@dataclass(frozen=True, slots=True)
class Question:
    """One benchmark question.

    index: position in the person's list of this task and modality, from 0, unaffected by skipping.
    slot: position in the stored list, which mixes the modalities for cloze and generation; the official skip
        rule counts by it.
    text: the question as stored; a cloze question holds the blank `__`.
    gold: a letter for classification, else the text; "" if the data has none.
    options: letter -> text in stored order (None where the data lacks the option); () if not classification.
    stored_gold: the gold answer as the data has it, which the official shots print.
    defect: why this question cannot be scored, or None.
    """

    task: str
    modality: Modality
    index: int
    slot: int
    text: str
    gold: str
    stored_gold: str
    options: tuple[tuple[str, str | None], ...] = ()
    defect: str | None = None


@dataclass(frozen=True, slots=True)
class Person:
    """One row of a config, without its image bytes.

    row: position in the config's table.
    biography: the parsed JSON object, {} if the text is no JSON object (kept in `biography_text`).
    question / answer: the row's description prompt and its long answer, "" if absent.
    unread: entries of which no question could be made, since nobody knows their modality: (task, why).
    """

    id: str
    config: str
    row: int
    questions: tuple[Question, ...]
    biography: dict
    biography_text: str = ""
    question: str = ""
    answer: str = ""
    unread: tuple[tuple[str, str], ...] = ()

    @property
    def name(self) -> str:
        """The person's name if the biography has one, else ""."""
        return str(self.biography.get("Name") or "")

    def of(self, task: str, modality: Modality) -> Iterator[Question]:
        """Questions of one task and modality, in stored order, defective ones included."""
        return (q for q in self.questions if q.task == task and q.modality is modality)


def sharing(person: Person, twin: Person) -> Person:
    """An equal person that shares what is equal with a twin from another config: `retain_N` repeats `Full_Set`."""
    if person is twin:
        return person
    questions = twin.questions if person.questions == twin.questions else person.questions
    if person.biography_text == twin.biography_text:
        return replace(person, questions=questions, biography=twin.biography, biography_text=twin.biography_text)
    return replace(person, questions=questions)


@dataclass(frozen=True, slots=True)
class Defect:
    """Something in the data that does not stop a run but must not pass unseen."""

    config: str
    person: str
    where: str
    problem: str

    def __str__(self) -> str:
        return f"{self.config}, person {self.person}, {self.where}: {self.problem}"


@dataclass(frozen=True, slots=True)
class TrainingRow:
    """One row of a training config: what belongs to its image.

    pairs: (question, answer), stripped, neither empty. left_out: why each other entry of the metadata is no such pair.
    """

    person: str
    config: str
    row: int
    pairs: tuple[tuple[str, str], ...]
    left_out: tuple[str, ...] = ()
