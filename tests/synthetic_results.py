"""Output folders in the shape of lmms-eval 0.7.3 with made-up answers, of any size.

    python tests/synthetic_results.py OUT METHODS PEOPLE FORGET REAL

writes vanilla, retain_only and METHODS methods; `20 500 25 153` is 12,204 samples each.
"""

import json
import random
import sys
from pathlib import Path

from mllmu_tasks.benchmarks.mllmu.spec import METRICS, Leaf, Modality, Split, Task, leaves

DATE = "20260101_120000"
ASKED = {Task.CLASSIFICATION: 5, Task.GENERATION: 2, Task.CLOZE: 2}


def everyone(people: int, forget: int, real: int) -> dict[Split, list[str]]:
    """Ids a split; the first `forget` people are forgotten."""
    ids = [f"{number:03}" for number in range(1, people + 1)]
    celebrities = [f"c{number:03}" for number in range(1, real + 1)]
    return {
        Split.FORGET: ids[:forget],
        Split.TEST: ids[:forget],
        Split.RETAIN: ids[forget:],
        Split.REAL: celebrities,
    }


def write_evaluation(
    folder: Path,
    name: str,
    who: dict[Split, list[str]],
    right: dict[Split, float],
    *,
    seed: int = 0,
    ratio: int = 5,
    model: str = "mllmu_hf",
    facts: dict | None = None,
    answer: str = "",
    silent: float = 0.0,
) -> Path:
    """One run. right: chance of a right answer a split. answer: said wherever it is wrong. silent: share of none."""
    rng = random.Random(f"{name} {seed}")
    place = folder / "model"
    place.mkdir(parents=True)
    scores = {}
    for leaf in leaves(ratio):
        rows = [
            _row(leaf, person, index, rng, right[leaf.split], answer, silent)
            for person in who[leaf.split]
            for index in range(ASKED[leaf.task])
        ]
        lines = "".join(json.dumps(row) + "\n" for row in rows)
        (place / f"{DATE}_samples_{leaf.name}.jsonl").write_text(lines, encoding="utf-8")
        known = {"data": "made up", "data_hash": "d1", "seed": 0, "shots": [0, 0], "shot_questions": None}
        known |= {"shot_people": [], "questions": len(rows)} | (facts or {})
        mean = sum(row["score"] for row in rows) / len(rows)
        scores[leaf.name] = {"mllmu_facts,none": json.dumps(known), "mllmu_by_person,none": mean}
    arguments = f"pretrained=base,peft={name}" if name not in ("vanilla", "retain_only") else f"pretrained={name}"
    record = {
        "results": scores,
        "config": {"model": model, "model_args": arguments, "limit": None},
        "lmms_eval_version": "0.7.3",
        "total_evaluation_time_seconds": "61.5",
        "throughput": {"avg_peak_memory_mib": 640.0},
    }
    (place / f"{DATE}_results.json").write_text(json.dumps(record), encoding="utf-8")
    return folder


def _row(leaf: Leaf, person: str, index: int, rng: random.Random, right: float, answer: str, silent: float) -> dict:
    """Half of the luck is the person's, so that a person's questions are correlated."""
    luck = random.Random(f"{person}{leaf.split}").random()
    hit = float((luck if index % 2 else rng.random()) < right)
    score = hit if leaf.task is not Task.GENERATION else 0.3 + 0.69 * hit * rng.random()
    gold = (
        "ABCD"[(index + len(leaf.name)) % 4]
        if leaf.task is Task.CLASSIFICATION
        else f"the answer about {person} in a sentence"
    )
    answered = float(rng.random() >= silent)
    wrong = "?" if leaf.task is Task.CLASSIFICATION else "something else that is wrong"
    said = gold if hit else answer or wrong
    return {
        "doc_id": index,
        "score": score * answered,
        **dict.fromkeys(METRICS[leaf.task], score * answered),
        "mllmu_answered": answered,
        "prediction": said if answered else "",
        "answered": answered,
        "parsed": answered,
        "person": person,
        "split": str(leaf.split),
        "ratio": leaf.ratio,
        "task": str(leaf.task),
        "modality": str(leaf.modality),
        "question_index": index,
        "question": f"What of {person}, question {index}{' in the picture' * (leaf.modality is Modality.IMAGE)}?",
        "gold": gold,
    }


def write_study(out: Path, methods: int, people: int, forget: int, real: int) -> Path:
    """vanilla, retain_only and methods of falling strength in folders of their own below `out`."""
    who = everyone(people, forget, real)
    known, unknown = dict.fromkeys(Split, 0.95), dict.fromkeys(Split, 0.95) | {Split.FORGET: 0.25, Split.TEST: 0.25}
    write_evaluation(out / "vanilla", "vanilla", who, known)
    write_evaluation(out / "retain_only", "retain_only", who, unknown)
    for number in range(methods):
        share = (number + 1) / methods
        kept = {Split.FORGET: 0.95 - 0.7 * share, Split.TEST: 0.9 - 0.6 * share, Split.RETAIN: 0.95 - 0.3 * share**2}
        name = f"method_{number + 1:02}"
        write_evaluation(out / name, name, who, kept | {Split.REAL: 0.9 - 0.1 * share})
    return out


if __name__ == "__main__":
    write_study(Path(sys.argv[1]), *map(int, sys.argv[2:]))
