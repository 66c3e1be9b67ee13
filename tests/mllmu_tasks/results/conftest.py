"""Output folders in the shape that lmms-eval 0.7.3 writes."""

import json
from pathlib import Path

import pytest
import recorded

from mllmu_tasks.benchmarks.mllmu.spec import Leaf

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


@pytest.fixture
def write_judged(write_run):
    """write_run for runs that a gate may judge: who answered is recorded, and scores follow from answers.

    role: base, adapter or reference; by default base for names that begin with before or vanilla. change: takes a
    leaf's facts and configuration, to spoil them. forgot: by the record; default: everyone in forget and test.
    """

    def write(name, scores, *, role=None, forgot=None, change=None, facts=None, answered=1, **more):
        role = role or ("base" if name.startswith(("before", "vanilla")) else "adapter")
        more = {"model_args": "pretrained=m" + f",peft={name}" * (role == "adapter"), **more}
        more["config"] = {"model": "mllmu_hf", **(more.get("config") or {})}
        scores = {leaf: _apart(leaf, people) for leaf, people in scores.items()}
        folder = write_run(name, scores, facts=facts, answered=answered, **more)
        (file,) = folder.rglob("*_results.json")
        data = json.loads(file.read_text())
        everyone = {p for leaf in scores if Leaf.parse(leaf).wanted_low for p in scores[leaf]}
        data["configs"] = {}
        for leaf, people in scores.items():
            known = recorded.facts(leaf, sorted(everyone), role, more["config"]["model"])
            known["answered_by"]["forgot"] = sorted(everyone if forgot is None else forgot) if role == "adapter" else []
            known |= json.loads(data["results"][leaf]["mllmu_facts,none"]) | (facts or {})
            config = recorded.configuration(leaf)
            if change:
                change(leaf, known, config)
            data["configs"][leaf] = config
            data["results"][leaf]["mllmu_facts,none"] = json.dumps(known)
            _make_honest(file.with_name(f"{DATE}_samples_{leaf}.jsonl"), leaf, answered)
            values = [score for given in people.values() for score in given]
            data["results"][leaf]["mllmu_by_person,none"] = sum(values) / len(values) if values else None
        file.write_text(json.dumps(data))
        return folder

    return write


def _apart(leaf: str, people: dict) -> dict:
    """Whom a model forgot is nobody that it retains."""
    return people if Leaf.parse(leaf).wanted_low else {f"kept {person}": given for person, given in people.items()}


def _make_honest(file: Path, leaf: str, answered: int) -> None:
    rows = []
    for row in map(json.loads, file.read_text().splitlines()):
        if row["score"] in (0, 1):
            del row["mllmu_cloze"]
            row |= recorded.scored(leaf, row["score"] == 1, bool(answered))
            row["mllmu_by_person"] |= {"score": row["score"]}
        rows.append(json.dumps(row) + "\n")
    file.write_text("".join(rows))
