"""Output folders in the shape that lmms-eval 0.7.3 writes."""

import json
from pathlib import Path

import pytest

DATE = "20260101_120000"


@pytest.fixture
def write_run(tmp_path: Path):
    """write_run(name, {leaf: {person: [score, ...]}}, model_args=..., facts=...) -> output folder.

    config: keys of the record of the command line. other: results of other benchmarks. answered: of every question.
    """

    def write(
        name, scores, *, model_args="answers=gold", facts=None, skip_samples=False, config=None, other=None, answered=1
    ):
        folder = tmp_path / name / "model"
        folder.mkdir(parents=True)
        facts = {"data_hash": "d1", "seed": 0, "shots": [1, 2]} | (facts or {})
        results = {leaf: {"alias": leaf, "mllmu_facts,none": json.dumps(facts)} for leaf in scores}
        other = {"mmmu_val": {"acc,none": 0.4}} if other is None else other
        config = {"model": "mllmu_replay", "model_args": model_args, "limit": None} | (config or {})
        text = json.dumps({"results": results | other, "config": config})
        (folder / f"{DATE}_results.json").write_text(text)
        for leaf, people in {} if skip_samples else scores.items():
            rows = [
                {"doc_id": 0, "score": s, "person": p, "question_index": i, "prediction": "x", "gold": "y"}
                | {"answered": answered, "parsed": 1, "mllmu_cloze": s, "mllmu_by_person": {"score": s, "person": p}}
                for p, given in people.items()
                for i, s in enumerate(given)
            ]
            lines = "".join(json.dumps(row) + "\n" for row in rows)
            (folder / f"{DATE}_samples_{leaf}.jsonl").write_text(lines)
        return tmp_path / name

    return write
