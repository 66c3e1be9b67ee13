"""How a question is put to a model: as a raw string, and as chat messages with the same content."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from mllmu_tasks.data.people import Modality, Question


def say(question: Question) -> str:
    """The question as stored, then its options, a line each."""
    return "\n".join([question.text, *(f"{letter}: {text}" for letter, text in question.options if text is not None)])


def answer(question: Question) -> str:
    """The gold answer of an example."""
    return question.gold or question.stored_gold


def raw(question: Question, shots: Sequence[Question] = ()) -> str:
    """USER and ASSISTANT turns, `<image>` where an image goes."""
    turns = [f"USER: {_mark(shot)}{say(shot)}\nASSISTANT: {answer(shot)}\n" for shot in shots]
    return f"{''.join(turns)}USER: {_mark(question)}{say(question)}\nASSISTANT:"


def _mark(question: Question) -> str:
    return "<image>\n" if question.modality is Modality.IMAGE else ""


@dataclass(frozen=True)
class Prompts:
    """say: what the user says in a chat. answer: what the assistant says in a chat example. raw: the official string
    of a question and its examples, with `<image>` placeholders.
    """

    say: Callable[[Question], str] = say
    answer: Callable[[Question], str] = answer
    raw: Callable[[Question, Sequence[Question]], str] = raw

    def messages(self, question: Question, images: Sequence[object] = (), shots: Sequence[Question] = ()) -> list[dict]:
        """Fresh chat messages: examples as user and assistant turns, then the question.

        images: one per shot and one for the question on image questions, in that order; () on text questions.
        Each is any object lmms-eval takes as an image url (a PIL image).
        """
        turns = [*shots, question]
        if len(images) != (len(turns) if question.modality is Modality.IMAGE else 0):
            raise ValueError(f"{len(images)} images for {len(turns)} {question.modality} turns")
        conversation: list[dict] = []
        for place, turn in enumerate(turns):
            picture = [{"type": "image", "url": images[place]}] if images else []
            conversation.append({"role": "user", "content": [*picture, {"type": "text", "text": self.say(turn)}]})
            if place < len(shots):
                said = {"type": "text", "text": self.answer(turn)}
                conversation.append({"role": "assistant", "content": [said]})
        return conversation
