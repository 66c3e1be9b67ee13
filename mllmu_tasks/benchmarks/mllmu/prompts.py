"""The official prompt strings, character for character, and the same content as chat messages.

Source: `eval.py` of franciscoliu/MLLMU-Bench. Golden snapshots of both renderings are among the tests.
"""

from collections.abc import Sequence

from mllmu_tasks.benchmarks.mllmu.spec import Task
from mllmu_tasks.benchmarks.prompts import Prompts
from mllmu_tasks.benchmarks.prompts import answer as chat_answer
from mllmu_tasks.data.people import Modality, Question

LETTER_INSTRUCTION = "Just give ONE letter representing the answer directly."
CLOZE_INSTRUCTION = "Please **ONLY** provide the correct answer that should replace the [Blank]."
GENERATION_INSTRUCTION = {
    Modality.IMAGE: "Answer the question based on your trained knowledge in one sentence accurately in ENGLISH.",
    Modality.TEXT: "Answer the question based on your trained knowledge in one sentence in ENGLISH.",
}


def official(question: Question, shots: Sequence[Question] = ()) -> str:
    """The raw string of the official code, `<image>` where an image goes."""
    image = question.modality is Modality.IMAGE
    text = _official_text(question)
    prefix = "".join(map(_official_shot, shots))
    if question.task == Task.GENERATION:
        # The official strings differ here: a trailing space with an image, and the question on the USER line
        # without one.
        return f"USER: <image>\n{text}\nASSISTANT: " if image else f"USER: {text}\nASSISTANT:"
    return f"{prefix}USER: <image>\n{text}\nASSISTANT:" if image else f"{prefix}USER:\n{text}\nASSISTANT:"


def _official_text(question: Question) -> str:
    if question.task == Task.CLASSIFICATION:
        options = "\n".join(f"{letter}: {text}" for letter, text in question.options)
        return f"{question.text}\n{options}\n{LETTER_INSTRUCTION}"
    return _open_text(question)


def _official_shot(shot: Question) -> str:
    image = shot.modality is Modality.IMAGE
    if shot.task == Task.CLASSIFICATION:
        options = dict(shot.options)
        lines = "".join(f"{letter}: {options.get(letter)}\n" for letter in "ABCD")
        head = "USER: <image>\n" if image else "USER:\n"
        return f"{head}Question: {shot.text}\n{lines}Correct Answer: {shot.stored_gold}\n"
    head = "USER:<image>\n" if image else "USER:\n"
    return f"{head}{_open_text(shot)}\nCorrect Answer: {shot.stored_gold}\n"


def _open_text(question: Question) -> str:
    if question.task == Task.CLOZE:
        return question.text.replace("__", "[Blank]") + f"\n{CLOZE_INSTRUCTION}"
    return f"{question.text}\n{GENERATION_INSTRUCTION[question.modality]}"


def chat_text(question: Question) -> str:
    """What the user says in the chat rendering: the official content without tags; lost options dropped."""
    if question.task == Task.CLASSIFICATION:
        options = "\n".join(f"{letter}: {text}" for letter, text in question.options if text is not None)
        return f"{question.text}\n{options}\n{LETTER_INSTRUCTION}"
    return _open_text(question)


PROMPTS = Prompts(say=chat_text, answer=chat_answer, raw=official)
