"""Results of a benchmark that is not MLLMU-Bench, in the shape of lmms-eval: two splits, one task, one metric."""

import hashlib
import json
from pathlib import Path

DATE = "20260101_120000"
SPLITS = {"gone": "forget", "known": "retain"}
METRIC = {"better_on_forget": "low", "better_on_retain": "high", "low": 0, "high": 1, "cluster": "person"}


def write_toy(
    folder: Path, right: dict[str, float], people: int = 30, *, name: str = "toy", metric: str = "toy_hit"
) -> Path:
    """One run. right: split -> the share of each person's four questions that is answered right.

    metric: its own, or that of a scorer of ours.
    """
    place = folder / "model"
    place.mkdir(parents=True)
    results = {}
    for order, (split, role) in enumerate(SPLITS.items()):
        leaf = f"{name}_{split}_qa_text"
        columns = {"benchmark": name, "split": split, "role": role, "ratio": None, "task": "qa", "modality": "text"}
        rows = []
        for person in range(people):
            for index in range(4):
                score = float(index < 4 * right[split])
                said = "yes" if score else "no"
                rows.append(
                    {"doc_id": index, **columns, "person": f"{split}{person}", "question_index": index, "gold": "yes"}
                    | {"question": f"Is it {index}?", "prediction": said, "answered": 1.0, "parsed": 1.0}
                    | {"score": score, metric: score, "mllmu_answered": 1.0}
                    | {"mllmu_by_person": {"score": score, "person": f"{split}{person}", "leaf": leaf}}
                )
        (place / f"{DATE}_samples_{leaf}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
        facts = {**columns, "metrics": {metric: METRIC}, "data_hash": "t1", "seed": 0, "questions": len(rows)}
        facts |= {"order": order, "modalities": ["text"]}
        mean = sum(row["score"] for row in rows) / len(rows)
        results[leaf] = {"mllmu_facts,none": json.dumps(facts), f"{metric},none": mean, "mllmu_by_person,none": mean}
    config = {"model": "mllmu_hf", "model_args": f"pretrained={folder.name}", "limit": None}
    (place / f"{DATE}_results.json").write_text(json.dumps({"results": results, "config": config}))
    return folder


def join(folder: Path, leaf: str, metric: str, value: float, low: float, high: float, leave_out: int = 0) -> Path:
    """Put a scorer's column beside the samples of a leaf: the same value for every question but the last ones."""
    (samples,) = folder.rglob(f"*_samples_{leaf}.jsonl")
    rows = [json.loads(line) for line in samples.read_text().splitlines()]
    named = [[leaf, row["person"], row["question_index"], {metric: value}] for row in rows[: len(rows) - leave_out]]
    content = {
        "schema": 1,
        "scorer": "outside",
        "about": {},
        "metrics": {metric: METRIC | {"low": low, "high": high}},
        "of": {leaf: hashlib.sha256(samples.read_bytes()).hexdigest()},
        "rows": named,
    }
    file = samples.with_name(f"{DATE}_columns_outside.json")
    file.write_text(json.dumps(content))
    return file
