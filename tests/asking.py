"""Requests as lmms-eval makes them, for a few made-up documents, and a model that is given them."""

import random
from collections.abc import Sequence
from typing import Any

from lmms_eval.api.instance import Instance
from PIL import Image

TASK, SPLIT = "made_up", "test"
SETTINGS = {"max_new_tokens": 6, "do_sample": False, "temperature": 0, "until": ["ASSISTANT:"]}


def picture(seed: int, size: tuple[int, int] = (56, 56)) -> Image.Image:
    """A few coarse blocks of colour, so that resizing leaves something to tell apart."""
    draw = random.Random(seed)
    small = Image.frombytes("RGB", (4, 4), bytes(draw.randrange(256) for _ in range(48)))
    return small.resize(size, Image.Resampling.NEAREST)


def document(number: int, question: str, images: int = 0, shots: int = 0) -> dict[str, Any]:
    """images: 0 or 1 a turn; shots: example turns before the question, the same in all documents."""
    return {
        "person": f"{number:03d}",
        "question_index": number,
        "question": question,
        "images": images,
        "shots": shots,
        "gold": f"gold {number}",
    }


def to_messages(doc: dict[str, Any]) -> list[dict]:
    def turn(role: str, text: str, seed: int | None = None) -> dict:
        shown = [] if seed is None else [{"type": "image", "url": picture(seed)}]
        return {"role": role, "content": [*shown, {"type": "text", "text": text}]}

    turns = []
    for shot in range(doc["shots"]):
        turns.append(turn("user", f"Who is number {shot}?", 1000 + shot if doc["images"] else None))
        turns.append(turn("assistant", f"Ada {shot}."))
    return [*turns, turn("user", doc["question"], int(doc["person"]) if doc["images"] else None)]


def to_text(doc: dict[str, Any]) -> str:
    mark = "<image>\n" if doc["images"] else "\n"
    shots = "".join(f"USER:{mark}Who is number {n}?\nCorrect Answer: Ada {n}.\n" for n in range(doc["shots"]))
    return f"{shots}USER: {mark}{doc['question']}\nASSISTANT:"


def requests(docs: Sequence[dict], settings: dict[str, Any] | None = None, messages=to_messages) -> list[Instance]:
    return [
        Instance(
            request_type="generate_until",
            arguments=(to_text(doc), messages, dict(SETTINGS if settings is None else settings), n, TASK, SPLIT),
            idx=0,
            metadata={"task": TASK, "doc_id": n, "repeats": 1},
        )
        for n, doc in enumerate(docs)
    ]


def ask(model: Any, docs: Sequence[dict], settings: dict[str, Any] | None = None, messages=to_messages) -> list[str]:
    model.task_dict = {TASK: {SPLIT: list(docs)}}
    return model.generate_until(requests(docs, settings, messages))


MIXED = [
    document(1, "Where does this person live?", images=1),
    document(2, "Where does Ada Berg live?"),
    document(3, "Who is it? Choose A: Oslo B: Quito C: Lima D: Accra", images=1, shots=2),
    document(4, "Name?", shots=1),
    document(5, "The name of the person in the image is", images=1, shots=1),
    document(6, "A", images=1),
    document(7, "In which town, Lima or Oslo, does Ada live, and what is the name of the person?"),
    document(8, "Who is it?", images=1, shots=2),
]
