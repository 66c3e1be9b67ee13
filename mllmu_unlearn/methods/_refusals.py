"""Other answers to the forget questions: refusals of ours, or alternates from a file."""

import random
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from mllmu_tasks import strict_json
from mllmu_tasks.errors import UserError, quoted
from mllmu_tasks.user_files import read_text
from mllmu_unlearn.recipes import FOLDER
from mllmu_unlearn.toolbox.samples import Sample

REFUSALS = (
    "I don't know.",
    "I'm not sure.",
    "I have no information about that.",
    "I can't answer that question.",
    "That is not something I know.",
    "I'm unable to say.",
    "I don't have that information.",
    "I was not told anything about this person.",
)


def refused(forget: Sequence[Sample], seed: int) -> list[Sample]:
    """The same questions, each with one of REFUSALS (drawn once, by `seed`)."""
    rng = random.Random(seed)
    return [answered(sample, rng.choice(REFUSALS)) for sample in forget]


def alternates(forget: Sequence[Sample], file: str | None) -> list[Sample]:
    """The same questions with the answers of a JSON-lines file of {"person", "question", "answer"}.

    A file that is not there is looked for by name among the recipes. Raises UserError if there is no file, if a line
    is malformed, or if a question has no other answer.
    """
    if not file:
        raise UserError('altpo needs --alternates FILE: JSON lines {"person": "009", "question": ..., "answer": ...}.')
    path = Path(file) if Path(file).exists() else FOLDER / file
    lines = read_text(path, f"the file of alternates '{file}'").split("\n")
    known = dict(_pair(line, f"{file}, line {number}") for number, line in enumerate(lines, 1) if line.strip())
    made = []
    for sample in forget:
        answer = known.get((sample.person, sample.question))
        if not answer or answer == sample.answer:
            raise UserError(
                f"{file} has no other answer for person {quoted(sample.person)}, {quoted(sample.question)}."
            )
        made.append(answered(sample, answer))
    return made


def _pair(line: str, where: str) -> tuple[tuple[str, str], str]:
    try:
        row = strict_json.loads(line)
        return (str(row["person"]), row["question"].strip()), row["answer"].strip()
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise UserError(f"{where}: wanted person, question and answer as JSON texts.") from error


def answered(sample: Sample, answer: str) -> Sample:
    """The sample with another last answer, which alone is learnt."""
    return replace(sample, turns=(*sample.turns[:-1], replace(sample.turns[-1], answer=answer)), learnt=1)
