import csv
import io
import json
import re

import pytest
from places import GOLDEN
from typer.testing import CliRunner

from mllmu_tasks.errors import UserError
from mllmu_tasks.results.runs import load_runs
from mllmu_tasks.results.tables.summary import summarise
from mllmu_tasks.results.tables.table import cells, render
from mllmu_tasks.results.validity import row_flaws
from mllmu_unlearn.cli.main import app

SCORES = {
    "mllmu_forget_cloze_image": {"1": [1.0, 0.0], "2": [1.0, 1.0]},
    "mllmu_forget_cloze_text": {"1": [0.0, 0.0], "2": [1.0, 1.0]},
    "mllmu_real_generation_text": {"c1": [0.25], "c2": [0.75]},
}


@pytest.fixture
def run(write_run):
    return load_runs([write_run("a|b", SCORES)])[0]


def test_modalities_pool_and_people_cluster(run):
    pooled = cells([run], name="vanilla")
    assert [(c.split, c.task, c.modality) for c in pooled] == [
        ("forget", "cloze", None),
        ("real", "generation", None),
    ]
    assert pooled[0].estimate.mean == pytest.approx(5 / 8)
    assert (pooled[0].estimate.questions, pooled[0].estimate.people) == (8, 2)
    assert len(cells([run], pooled=False)) == 3


def test_every_format_shows_the_same_numbers(run):
    rows = cells([run], name="a|<b>")
    text, markdown = render(rows, "text"), render(rows, "markdown")
    assert "0.62 ±.38" in text
    assert "| a\\|&lt;b&gt; | 0.62 ±.38 | 0.50 ±.25 \\* |\n" in markdown
    assert markdown.endswith("\n\n\\* a\\|&lt;b&gt;: mllmu_real_generation_text: text questions alone")
    parsed = json.loads(render(rows, "json"))
    assert parsed["schema"] == 1
    assert parsed["cells"][0]["mean"] == pytest.approx(0.625)
    assert parsed["cells"][0]["people"] == 2
    (first, _) = csv.DictReader(io.StringIO(render(rows, "csv")))
    assert float(first["mean"]) == pytest.approx(0.625)
    with pytest.raises(UserError, match="Did you mean 'markdown'"):
        render(rows, "markdwon")


def test_answered_shots_and_seed_stand_beside_the_scores(write_run, run):
    void = {**SCORES, "mllmu_real_generation_text": {"c1": [0.0]}}
    facts = {"seed": 3, "shots": [0, 0], "shot_people": [], "shot_questions": 2}
    other = write_run("qwen", void, config={"model": "qwen2_5_vl"}, facts=facts, answered=0)
    runs = [run, *load_runs([other])]
    named = list(zip(runs, ("vanilla", "[bold]qwen"), strict=True))
    rows = [c for r, name in named for c in cells([r], name=name)]
    summaries = [summarise(r, name, row_flaws([r])) for r, name in named]
    lines = render(rows, "markdown", runs=summaries).splitlines()
    assert lines[0] == "|  | forget↓ cloze | real↑ gen | answered | shots | seed |"
    assert lines[2] == "| vanilla | 0.62 ±.38 | 0.50 ±.25 \\* | 100% | 1,2 | 0 |"
    assert lines[3] == "| \\[bold\\]qwen | not a result | not a result | 0% | 0,0 (at most 2 questions) | 3 |"
    told = render(rows, "markdown", runs=summaries, allow_unanswered=True).splitlines()[3]
    assert told.startswith("| \\[bold\\]qwen (not a result) | 0.62 ±.38 | 0.00 \\* |")
    assert "[bold]qwen" in render(rows, "text", runs=summaries)


def test_one_silent_question_of_a_stock_backend_voids_all_of_its_row(write_run):
    folder = write_run("llava", SCORES, config={"model": "llava_hf"})
    (file,) = folder.rglob("*_samples_mllmu_real_generation_text.jsonl")
    lines = [json.loads(line) for line in file.read_text().splitlines()]
    lines[0]["answered"] = 0
    file.write_text("".join(json.dumps(line) + "\n" for line in lines))
    (run,) = load_runs([folder])
    assert {cell.is_result for cell in cells([run])} == {False}
    ours = load_runs([write_run("ours", SCORES, config={"model": "mllmu_hf"}, answered=0)])
    assert {cell.is_result for cell in cells(ours)} == {True}  # an unlearned model may say nothing


def test_the_json_form_is_the_documented_one(write_run, tmp_path, monkeypatch):
    """docs/results.md describes it; a change that is no addition needs another schema number."""
    facts = {"data": "mini", "shot_questions": None, "shot_people": ["007", "011"], "questions": 4, "people": 2}
    arguments = "pretrained=models/vanilla,peft=adapters/npo"
    folder = write_run("npo", SCORES, config={"model": "mllmu_hf"}, model_args=arguments, facts=facts)
    (file,) = folder.rglob("*_results.json")
    written = json.loads(file.read_text())
    written["results"]["mllmu_real_generation_text"]["mllmu_facts,none"] = json.dumps(
        json.loads(written["results"]["mllmu_real_generation_text"]["mllmu_facts,none"]) | {"questions": 2}
    )
    file.write_text(json.dumps(written))
    monkeypatch.chdir(tmp_path)
    shown = CliRunner().invoke(app, ["results", "npo", "--modalities", "--format", "json"])
    golden = GOLDEN / "results.json"
    assert json.loads(shown.stdout) == json.loads(golden.read_text())
    documented = (GOLDEN.parents[1] / "docs" / "results.md").read_text()
    for part in (shown.stdout, json.dumps([json.loads(shown.stdout)[key][0] for key in ("runs", "cells")])):
        for key in re.findall(r'"(\w+)":', part):
            assert f"`{key}`" in documented or key.startswith("mllmu_"), key


def test_csv_has_the_columns_of_the_cells(run):
    head = render(cells([run]), "csv").splitlines()[0]
    assert head == (
        "run,split,ratio,task,modality,metric,answered,is_result,shots,seed,mean,stderr,questions,people,notes,"
        "benchmark,role"
    )
