"""A model that forgot nothing passes nowhere: real runs whose questions, settings or answers were not those of mllmu.

The adapter changes no answer and says that it forgot the people of forget_15.
"""

import json
import shutil
from pathlib import Path

import pytest
from adapters import make_adapter
from command_lines import Outcome, lmms_eval, mllmu
from data_sets import change, copy_mini

from mllmu_tasks.artifacts.identity import weights_fingerprint
from mllmu_tasks.benchmarks.mini import checkpoint
from mllmu_tasks.data.source import open_source
from mllmu_tasks.plugin import task_folder

FORGET, RETAIN = "mllmu_forget_15_generation_text", "mllmu_retain_15_cloze_text"
POLICY = """
rules:
  - {split: forget, task: generation, modality: text, at_most: 0.4, point: true}
  - {split: retain, task: cloze, modality: text, at_least: baseline - 0.05, point: true}
"""


@pytest.fixture(scope="module")
def home(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("gate")
    (folder / "policy.yaml").write_text(POLICY)
    return folder


@pytest.fixture(scope="module")
def adapter(home) -> Path:
    base = str(checkpoint("vanilla"))
    ids = [person.id for person in open_source("mini").people("forget_15")]
    made_from = {"name_or_path": base, "revision": None, "fingerprint": weights_fingerprint(base)}
    record = {"format": 1, "kind": "lora", "base_model": made_from, "forget": {"ratio": 15, "ids": ids}}
    return make_adapter(checkpoint("vanilla"), home / "faint", "lora", scale=1e-5, record=record)


@pytest.fixture(scope="module")
def both(home, adapter) -> Path:
    """Results of the base model (`base`) and of the adapter (`faint`, too weak to change an answer), honestly made."""
    (home / "both").mkdir()
    outcome = mllmu(
        home / "both",
        *("eval", "--base", str(checkpoint("vanilla")), "--adapters", str(adapter), "--with_base"),
        *("--model_args", "dtype=float32", "--tasks", f"{FORGET},{RETAIN}", "--batch_size", "32"),
        *("--output_path", "out"),
        MLLMU_DATA="mini",
        MLLMU_CACHE=str(home / "cache"),
    )
    assert outcome.code == 0, outcome.output[-2000:]
    return outcome.folder / "out"


def of_leaf(both: Path, leaf: str, out: Path) -> Path:
    """The judged results of one leaf alone."""
    (file,) = (both / "faint").rglob("*_results.json")
    data = json.loads(file.read_text())
    data["results"] = {leaf: data["results"][leaf]}
    out.mkdir()
    (out / file.name).write_text(json.dumps(data))
    (samples,) = file.parent.glob(f"*_samples_{leaf}.jsonl")
    shutil.copy(samples, out)
    return out


def evaluate(home: Path, adapter: Path, name: str, *more: str, data: str = "mini") -> Outcome:
    arguments = f"pretrained={checkpoint('vanilla')},peft={adapter},dtype=float32"
    command = ("--model", "mllmu_hf", "--model_args", arguments, "--tasks", FORGET, "--batch_size", "32", *more)
    return lmms_eval(home / name, *command, MLLMU_DATA=data, MLLMU_CACHE=str(home / "cache"))


def check(home: Path, *results: Path, baseline: Path) -> Outcome:
    flags = ("--baseline", str(baseline), "--policy", "policy.yaml")
    return mllmu(home, "check", *map(str, results), *flags, GITHUB_STEP_SUMMARY="")


def put_nonsense(rows: list[dict]) -> None:
    for row in rows:
        for question in row["Generation_Task"] or []:
            question["Ground_Truth"] = "zzz qqq"


def words(outcome: Outcome) -> str:
    return " ".join(outcome.output.split())


def test_honest_runs_show_that_it_remembers_and_on_what_that_rests(home, both):
    outcome = check(home, both / "faint", baseline=both / "base")
    assert outcome.code == 1, outcome.output
    assert "proved: baseline: is the untouched model that was unlearned" in words(outcome)
    assert "proved: results: 9 people are forgotten by the model's own record" in words(outcome)
    assert "incomplete" not in outcome.output


def test_the_judged_run_is_no_baseline(home, both):
    outcome = check(home, both / "faint", baseline=both / "faint")
    assert "baseline: is the judged run itself" in words(outcome)
    assert "UNDECIDED  retain cloze text" in outcome.output


def test_forget_leaves_about_other_data(home, both, adapter):
    data = copy_mini(home / "doctored")
    change(data, "forget_15", put_nonsense)
    other = evaluate(home, adapter, "other", data=str(data))
    kept = of_leaf(both, RETAIN, home / "kept for other")
    outcome = check(home, other.folder, kept, baseline=both / "base")
    assert outcome.code == 2, outcome.output
    assert "whole_data is" in outcome.output


def test_forget_leaves_with_one_token_an_answer(home, both, adapter):
    tasks = home / "tasks"
    shutil.copytree(task_folder(), tasks)
    leaf = tasks / f"{FORGET}.yaml"
    short_answers = "generation_kwargs: {until: ['ASSISTANT:'], max_new_tokens: 1, do_sample: false}\n"
    leaf.write_text(leaf.read_text() + short_answers)
    short = evaluate(home, adapter, "short", "--include_path", str(tasks))
    kept = of_leaf(both, RETAIN, home / "kept for short")
    outcome = check(home, short.folder, kept, baseline=both / "base")
    assert outcome.code == 2, outcome.output
    assert "max_new_tokens is 1 for 50" in words(outcome)


def test_answers_that_were_emptied_where_they_are_kept_are_asked_again(home, both, adapter):
    """The same command as before is answered from the journal; what was changed there is not believed."""
    first = evaluate(home, adapter, "first")
    score = first.results["results"][FORGET]["mllmu_rougeL,none"]
    for journal in (home / "cache" / "answers").glob("*.jsonl"):
        lines = [json.loads(line) for line in journal.read_text().splitlines()]
        emptied = [[line[0], "", *line[2:]] if len(line) > 2 else line for line in lines]
        journal.write_text("".join(json.dumps(line) + "\n" for line in emptied))
    second = evaluate(home, adapter, "second")
    assert "answers in" in second.output
    assert "are not as they were written; asking again" in second.output
    assert second.results["results"][FORGET]["mllmu_rougeL,none"] == score > 0.5


def test_the_configuration_in_force_is_the_one_that_is_shipped(both):
    from mllmu_tasks.artifacts.task_file import config_hash

    (file,) = (both / "base").rglob("*_results.json")
    data = json.loads(file.read_text())
    for leaf in (FORGET, RETAIN):
        facts = json.loads(data["results"][leaf]["mllmu_facts,none"])
        assert facts["configuration"] == config_hash(data["configs"][leaf])
        assert facts["generation"] == data["configs"][leaf]["generation_kwargs"]
