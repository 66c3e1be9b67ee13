"""One stored row -> one `Person`. All irregularities of the stored form are settled here, by rule.

A wrong structure raises UserError that names config, person and question; a question that cannot be scored
carries its `defect` and is counted later. Nothing is guessed: an answer that fits no option has no letter.
"""

import re
from collections.abc import Iterator, Mapping
from sys import intern
from typing import Any

from mllmu_tasks import strict_json
from mllmu_tasks.benchmarks.mllmu.golds import unscorable
from mllmu_tasks.benchmarks.mllmu.spec import Task
from mllmu_tasks.data.people import Modality, Person, Question
from mllmu_tasks.errors import UserError, shown

QUESTION_COLUMNS = ("Classification_Task", "Generation_Task", "Mask_Task")
TEXT_COLUMNS = ("biography", "question", "answer")
LISTS = {Modality.IMAGE: "Image_Textual_Questions", Modality.TEXT: "Pure_Text_Questions"}
TYPES = {"Image_Textual": Modality.IMAGE, "Pure_Text": Modality.TEXT}
OPEN_TASKS = {Task.CLOZE: "Mask_Task", Task.GENERATION: "Generation_Task"}
BLANK = "__"
LETTER = re.compile(r"\(?([A-Za-z])\)?[.:)]?")
LETTER_AND_TEXT = re.compile(r"\(?([A-Za-z])\)?[.:)]\s*(.+)", re.DOTALL)


def parse_person(config: str, position: int, row: Mapping[str, Any]) -> tuple[Person, list[tuple[str, str]]]:
    """The person of a row and the oddities (where, problem) that belong to no question.

    Raises UserError if a column or an entry has the wrong type.
    """
    person = person_id(config, position, row.get("ID"))
    where = f"{config}, person {person}"
    oddities: list[tuple[str, str]] = []
    unread: list[tuple[Task, str]] = []
    questions = [
        *_classification(where, row["Classification_Task"], oddities),
        *(q for task in OPEN_TASKS for q in _open(where, task, row[OPEN_TASKS[task]], oddities, unread)),
    ]
    text = _text(where, "biography", row.get("biography"))
    biography = _json_object(text)
    if text and biography is None:
        oddities.append(("biography", "is no JSON object"))
    record = Person(
        id=person,
        config=config,
        row=position,
        questions=tuple(questions),
        biography=biography or {},
        biography_text=text,
        question=_text(where, "question", row.get("question")),
        answer=_text(where, "answer", row.get("answer")),
        unread=tuple(unread),
    )
    return record, oddities


def person_id(config: str, position: int, value: object) -> str:
    """Ids are strings; a whole number becomes its digits (a zero that was lost is not put back)."""
    if isinstance(value, str) and value.strip() and value.strip().isprintable():
        return value.strip()
    if isinstance(value, int) and not isinstance(value, bool):
        return str(value)
    raise UserError(f"{config}, row {position}: the ID is {shown(value)}, not a text that can be printed.")


def _classification(where: str, stored: object, oddities: list) -> Iterator[Question]:
    if stored is None:
        oddities.append(("Classification_Task", "is null"))
        return
    if not isinstance(stored, Mapping):
        raise UserError(f"{where}: Classification_Task is {type(stored).__name__}, not a struct of two lists.")
    for modality, name in LISTS.items():
        listed = _field(f"{where}, Classification_Task", stored, name)
        for slot, entry in enumerate(_entries(where, f"Classification_Task.{name}", listed, oddities)):
            place = f"{where}, {name}[{slot}]"
            options = _options(place, _field(place, entry, "Options"))
            answer = _text(place, "Correct_Answer", _field(place, entry, "Correct_Answer"))
            text = intern(_text(place, "Question", _field(place, entry, "Question")))
            letter, defect = gold_letter(answer, options)
            if not text.strip():
                defect = "the question is empty"
            yield Question(Task.CLASSIFICATION, modality, slot, slot, text, letter, answer, options, defect)


def gold_letter(answer: str, options: tuple[tuple[str, str | None], ...]) -> tuple[str, str | None]:
    """(letter, None) or ("", why there is none).

    "B", "b", "B." and "(B)" are letters, "B. nurse" is one if option B is "nurse", and a text is the letter of
    the one option that equals it (case and outer spaces aside).
    """
    answer = answer.strip()
    given = dict(options)
    if len(answer) == 1 and answer.isupper() and (given.get(answer) or "").strip():
        return answer, None  # nearly all of the data
    texts = {letter: text.strip().casefold() for letter, text in options if text is not None and text.strip()}
    if not answer:
        return "", "the gold answer is empty"
    same = [letter for letter, text in texts.items() if text == answer.casefold()]
    if match := LETTER.fullmatch(answer):
        letter = match[1].upper()
        if letter in texts:
            return letter, None
        if not same:
            lost = "has no text" if letter in given else "is not there"
            return "", f"the option of the gold answer {lost} ('{answer}')"
    if (match := LETTER_AND_TEXT.fullmatch(answer)) and not same:
        letter = match[1].upper()
        if texts.get(letter) == match[2].strip().casefold():
            return letter, None
    if len(same) == 1:
        return same[0], None
    problem = (
        f"fits several options ({', '.join(same)}: '{answer}')" if same else f"is none of the options ('{answer}')"
    )
    return "", f"the gold answer {problem}"


def _options(place: str, stored: object) -> tuple[tuple[str, str | None], ...]:
    if not isinstance(stored, Mapping):
        raise UserError(f"{place}: Options is {type(stored).__name__}, not a struct of letters.")
    options = []
    for letter, text in stored.items():
        if text is not None and not isinstance(text, str):
            raise UserError(f"{place}: option {letter} is {type(text).__name__}, not a text.")
        options.append((str(letter).strip().upper(), text if text is None else intern(text)))
    return tuple(options)


def _open(where: str, task: Task, stored: object, oddities: list, unread: list) -> Iterator[Question]:
    name = OPEN_TASKS[task]
    counts = dict.fromkeys(Modality, 0)
    for slot, entry in enumerate(_entries(where, name, stored, oddities)):
        place = f"{where}, {name}[{slot}]"
        kind = _text(place, "Type", _field(place, entry, "Type"))
        modality = TYPES.get(kind.strip())
        if modality is None:
            oddities.append((f"{name}[{slot}]", f"unknown Type {kind!r}; known: {', '.join(TYPES)}"))
            unread.append((task, f"unknown Type ({kind!r})"))
            continue
        text = intern(_text(place, "Question", _field(place, entry, "Question")))
        gold = intern(_text(place, "Ground_Truth", _field(place, entry, "Ground_Truth")))
        defect = None
        if not text.strip():
            defect = "the question is empty"
        elif not gold.strip():
            defect = "the gold answer is empty"
        else:
            defect = unscorable(task, gold)
            if task is Task.CLOZE:
                oddities += [(f"{name}[{slot}]", problem) for problem in _cloze_oddities(text, gold)]
        yield Question(task, modality, counts[modality], slot, text, gold, gold, (), defect)
        counts[modality] += 1


def _cloze_oddities(text: str, gold: str) -> Iterator[str]:
    """What is scored as the official code scores it, and hardly as its author meant."""
    if BLANK not in text:
        yield f"has no blank '{BLANK}'"
    if gold != gold.strip():
        yield "the gold answer has outer white space, and an answer without it is wrong"


def _field(where: str, stored: Mapping, name: str) -> object:
    """A field of a struct. One that is null is a defect; one that is not there is another structure."""
    if name not in stored:
        raise UserError(f"{where} has no field {name}; it holds {', '.join(map(str, stored)) or 'nothing'}.")
    return stored[name]


def _entries(where: str, name: str, stored: object, oddities: list) -> list[Mapping]:
    if stored is None:
        oddities.append((name, "is null"))
        return []
    if not isinstance(stored, list):
        raise UserError(f"{where}: {name} is {type(stored).__name__}, not a list.")
    for slot, entry in enumerate(stored):
        if not isinstance(entry, Mapping):
            raise UserError(f"{where}: {name}[{slot}] is {type(entry).__name__}, not a struct.")
    return stored


def _text(where: str, name: str, value: object) -> str:
    if value is None:
        return ""
    if not isinstance(value, str):
        raise UserError(f"{where}: {name} is {type(value).__name__}, not a text.")
    return value


def _json_object(text: str) -> dict | None:
    try:
        value = strict_json.loads(text)
    except ValueError:
        return None
    return value if isinstance(value, dict) else None
