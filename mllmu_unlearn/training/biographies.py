"""Biographies -> (question, answer) pairs that ask about a person by name."""

from collections.abc import Mapping
from typing import Any

from mllmu_tasks.data.people import Person

FIELDS = {
    "born": "place of birth",
    "educated at": "education",
    "heights": "height",
}
"""Biography keys whose plain name would not fit `What is the ... of NAME?`."""
NOT_ASKED = {"name", "appearance_detail"}
"""The name is in the question; the appearance is a question about the image."""


def text_pairs(person: Person) -> list[tuple[str, str]]:
    """What can be asked about a person without an image: the fields of the biography, then its question.

    `What is the <field> of <Name>?`; a person without a name or without a biography gives fewer pairs.
    """
    pairs = []
    if person.name:
        for key, value in person.biography.items():
            field, answer = key.strip(" :").lower(), _plain(value)
            if field not in NOT_ASKED and answer:
                pairs.append((f"What is the {FIELDS.get(field, field)} of {person.name}?", answer))
    if person.question.strip() and person.answer.strip():
        pairs.append((person.question.strip(), person.answer.strip()))
    return pairs


def _plain(value: Any) -> str:
    if isinstance(value, Mapping):
        return ", ".join(f"{key}: {_plain(item)}" for key, item in value.items() if _plain(item))
    if isinstance(value, list | tuple):
        return ", ".join(filter(None, map(_plain, value)))
    return "" if value is None else str(value).strip()
