import csv
import io
import json

import pytest

from mllmu_tasks.errors import UserError
from mllmu_tasks.results.runs import load_runs
from mllmu_tasks.results.table import cells, differences, render

SCORES = {
    "mllmu_forget_cloze_image": {"1": [1.0, 0.0], "2": [1.0, 1.0]},
    "mllmu_forget_cloze_text": {"1": [0.0, 0.0], "2": [1.0, 1.0]},
    "mllmu_real_generation_text": {"c1": [0.25], "c2": [0.75]},
}


@pytest.fixture
def run(write_run):
    return load_runs([write_run("a|b", SCORES)])[0]


def test_modalities_pool_and_people_cluster(run):
    pooled = cells(run, name="vanilla")
    assert [(c.split, c.task, c.modality) for c in pooled] == [
        ("forget", "cloze", None),
        ("real", "generation", None),
    ]
    assert pooled[0].estimate.mean == pytest.approx(5 / 8)
    assert (pooled[0].estimate.questions, pooled[0].estimate.people) == (8, 2)
    assert len(cells(run, pooled=False)) == 3


def test_every_format_shows_the_same_numbers(run):
    rows = cells(run, name="a|<b>")
    text, markdown = render(rows, "text"), render(rows, "markdown")
    assert "0.62 ±.38" in text
    assert "| a\\|&lt;b> | 0.62 ±.38 | 0.50 ±.25 |" in markdown
    parsed = json.loads(render(rows, "json"))
    assert parsed["schema"] == 1
    assert parsed["cells"][0]["mean"] == pytest.approx(0.625)
    assert parsed["cells"][0]["people"] == 2
    (first, _) = csv.DictReader(io.StringIO(render(rows, "csv")))
    assert float(first["mean"]) == pytest.approx(0.625)
    with pytest.raises(UserError, match="Did you mean 'markdown'"):
        render(rows, "markdwon")


@pytest.mark.parametrize(
    ("changed", "named"),
    [
        ({"facts": {"seed": 1}}, "seed"),
        ({"facts": {"data_hash": "d2"}}, "data_hash"),
        ({"facts": {"shots": [0, 0]}}, "shots"),
        ({"model_args": "answers=gold,prompt_style=official"}, "prompt_style"),
    ],
)
def test_runs_that_differ_are_named(write_run, run, changed, named):
    assert differences([run, run]) == []
    (other,) = load_runs([write_run("other", SCORES, **changed)])
    assert any(named in sentence for sentence in differences([run, other]))
    other_ratio = load_runs([write_run("ten", {"mllmu_forget_10_cloze_image": {"1": [1.0]}})])
    assert any("different people" in sentence for sentence in differences([run, *other_ratio]))
