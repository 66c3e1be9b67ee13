"""A benchmark that nobody here knows, and a scorer's joined column, in `results`, `check` and `report`."""

import json

import pytest
from toy_results import join, write_toy
from typer.testing import CliRunner

from mllmu_tasks.errors import UserError
from mllmu_tasks.results.runs import load_runs
from mllmu_unlearn.cli.main import app

GONE = "toy_gone_qa_text"


def mllmu(*words) -> tuple[int, str]:
    done = CliRunner().invoke(app, list(map(str, words)))
    if isinstance(done.exception, UserError):
        return 2, f"{done.output}{done.exception}"
    assert done.exception is None or isinstance(done.exception, SystemExit), done.exception
    return done.exit_code, done.output


@pytest.fixture
def policy(tmp_path):
    def write(*rules):
        file = tmp_path / "policy.yaml"
        file.write_text("rules:\n" + "".join(f"  - {rule}\n" for rule in rules))
        return file

    return write


def rules_of(folder, *words):
    file = folder.parent / "verdict.json"
    code, _ = mllmu("check", folder, *words, "--json", file)
    return code, {rule["rule"]: rule for rule in json.loads(file.read_text())["rules"]}


def test_its_columns_stand_in_the_table_by_role_and_order(tmp_path):
    folder = write_toy(tmp_path / "a", {"gone": 0.25, "known": 1.0})
    code, table = mllmu("results", folder, "--format", "markdown")
    assert code == 0
    assert table.splitlines()[0] == "|  | gone↓ qa | known↑ qa | answered | shots | seed |"
    assert table.splitlines()[2].startswith("| a | 0.25 ±.00 | 1.00 ±.00 |")
    cell = json.loads(mllmu("results", folder, "--format", "json")[1])["cells"][0]
    assert [cell[key] for key in ("benchmark", "role", "split", "task", "metric")] == [
        *("toy", "forget", "gone", "qa", "toy_hit")
    ]


def test_two_benchmarks_in_one_table_bear_their_names(tmp_path, write_run):
    write_toy(tmp_path / "all" / "one", {"gone": 0.0, "known": 1.0})
    write_run("all/two", {"mllmu_forget_cloze_text": {"1": [1.0], "2": [0.0]}}, model_args="pretrained=one")
    head = mllmu("results", tmp_path / "all", "--format", "markdown", "--allow-differences")[1].splitlines()[0]
    assert head.startswith("|  | mllmu_forget↓ cloze | toy_gone↓ qa | toy_known↑ qa |")


def test_a_policy_names_its_split_and_task(tmp_path, policy):
    folder = write_toy(tmp_path / "a", {"gone": 1.0, "known": 1.0}, metric="mllmu_cloze")
    code, rules = rules_of(folder, "--policy", policy("{split: gone, task: qa, at_most: 0.5}"))
    assert (code, rules["gone qa"]["verdict"], rules["gone qa"]["people"]) == (1, "BROKEN", 30)
    code, said = mllmu("check", folder, "--policy", policy("{split: gonne, task: qa, at_most: 0.5}"))
    assert (code, "Did you mean 'gone'" in said) == (2, True)
    code, said = mllmu("check", folder, "--policy", policy("{split: gone, metric: mllmu_close, at_most: 0.5}"))
    assert (code, "Did you mean 'mllmu_cloze'" in said) == (2, True)
    assert mllmu("check", folder)[0] == 2  # the default policy is about another benchmark


def test_a_score_that_no_scorer_here_computes_decides_nothing(tmp_path, policy):
    folder = write_toy(tmp_path / "a", {"gone": 1.0, "known": 1.0})
    code, said = mllmu("check", folder, "--policy", policy("{split: gone, task: qa, at_most: 0.5}"))
    assert (code, "no scorer that is installed here has its metrics (toy_hit)" in said) == (2, True)


def test_the_report_has_its_tables(tmp_path):
    folder = write_toy(tmp_path / "a", {"gone": 0.0, "known": 0.75})
    join(folder, GONE, "outside_grade", 4.0, 1, 10)
    code, said = mllmu("report", folder, "--out", tmp_path / "r")
    assert code == 0, said
    text = (tmp_path / "r" / "report.md").read_text()
    assert "|  | gone ↓ qa | known ↑ qa |" in text
    assert "gone should fall" in text.lower()
    assert "### outside_grade, all splits" in text
    assert "| a | 4.00 (" in text


def test_a_joined_metric_is_shown_and_bound_on_its_own_scale(tmp_path, policy):
    folder = write_toy(tmp_path / "a", {"gone": 0.0, "known": 1.0}, metric="mllmu_cloze")
    plain = mllmu("results", folder, "--format", "markdown")[1]
    join(folder, GONE, "outside_grade", 7.0, 1, 10)
    assert mllmu("results", folder, "--format", "markdown")[1] == plain
    table = mllmu("results", folder, "--metric", "outside_grade", "--format", "markdown")[1]
    assert table.splitlines()[0].startswith("|  | gone↓ qa | answered")
    assert table.splitlines()[2].startswith("| a | 7.00 ±.00 |")
    assert "Did you mean 'outside_grade'" in mllmu("results", folder, "--metric", "outside_grad")[1]
    code, rules = rules_of(folder, "--policy", policy("{split: gone, metric: outside_grade, at_most: 3}"))
    (rule,) = rules.values()
    assert (code, rule["verdict"], rule["value"]) == (1, "BROKEN", pytest.approx(7))
    assert 1 <= rule["low"] <= 7 <= rule["high"] <= 10
    code, said = mllmu("check", folder, "--policy", policy("{split: gone, metric: outside_grade, at_most: 30}"))
    assert (code, "lies between 1 and 10" in said) == (2, True)


def test_a_part_that_was_joined_is_marked_and_decides_nothing(tmp_path, policy):
    folder = write_toy(tmp_path / "a", {"gone": 0.0, "known": 1.0}, metric="mllmu_cloze")
    join(folder, GONE, "outside_grade", 7.0, 1, 10, leave_out=20)
    table = mllmu("results", folder, "--metric", "outside_grade", "--format", "markdown")[1]
    assert "100 of 120 answers have a outside_grade" in table
    code, rules = rules_of(folder, "--policy", policy("{split: gone, metric: outside_grade, at_most: 3}"))
    assert (code, [rule["reason"] for rule in rules.values()]) == (2, ["incomplete"])


def test_a_column_of_other_samples_or_beyond_its_bounds_is_not_used(tmp_path, capsys):
    folder = write_toy(tmp_path / "a", {"gone": 0.0, "known": 1.0}, metric="mllmu_cloze")
    file = join(folder, GONE, "outside_grade", 11.0, 1, 10)
    with pytest.raises(UserError, match="'outside_grade' is 11"):
        load_runs([folder])
    file = join(folder, GONE, "outside_grade", 7.0, 1, 10)
    (samples,) = folder.rglob(f"*_samples_{GONE}.jsonl")
    samples.write_text(samples.read_text() + "\n".join(samples.read_text().splitlines()[:1]) + "\n")
    (run,) = load_runs([folder])
    assert "was made of other samples" in capsys.readouterr().err
    assert not any(leaf.joined for leaf in run.leaves)
    assert file.is_file()
