"""Is it a result? The same damage is named by table, report, gate, baseline and judge."""

import csv
import io
import json

import pytest
from typer.testing import CliRunner

from mllmu_tasks.benchmarks.mllmu.spec import Leaf
from mllmu_tasks.errors import UserError
from mllmu_tasks.results.gate.evaluation import open_side
from mllmu_tasks.results.runs import load_runs
from mllmu_tasks.results.tables.table import cells, render
from mllmu_tasks.results.validity import Weight, row_flaws
from mllmu_unlearn.cli.main import app

IMAGE, TEXT, RETAIN = "mllmu_forget_cloze_image", "mllmu_forget_cloze_text", "mllmu_retain_generation_text"
SCORES = {
    IMAGE: {"1": [1.0, 0.0], "2": [1.0, 1.0]},
    TEXT: {"1": [0.0, 0.0], "2": [1.0, 1.0]},
    RETAIN: {"3": [0.25, 0.25], "4": [0.75, 0.75]},
}
FACTS = {"questions": 4}


def rows_of(folder, leaf):
    (file,) = folder.rglob(f"*_samples_{leaf}.jsonl")
    return file, [json.loads(line) for line in file.read_text().split("\n") if line]


def change_rows(folder, change, leaf=IMAGE):
    file, rows = rows_of(folder, leaf)
    file.write_text("".join(json.dumps(row) + "\n" for row in change(rows)))


def change_results(folder, **values):
    (file,) = folder.rglob("*_results.json")
    data = json.loads(file.read_text())
    data["results"][IMAGE] |= values
    file.write_text(json.dumps(data))


def scored(value):
    return lambda folder: change_rows(folder, lambda rows: [rows[0] | {"score": value}, *rows[1:]])


DAMAGE = {
    "missing": (lambda folder: change_rows(folder, lambda rows: rows[1:]), "3 of 4 questions are scored"),
    "gone": (lambda folder: change_rows(folder, lambda rows: []), "0 of 4 questions are scored"),
    "doubled": (lambda folder: change_rows(folder, lambda rows: [*rows, rows[0]]), "5 of 4 questions are scored"),
    "replaced": (lambda folder: change_rows(folder, lambda rows: [rows[1], *rows[1:]]), "questions are logged twice"),
    "nan": (scored(float("nan")), "scores outside 0..1"),
    "inf": (scored(float("inf")), "scores outside 0..1"),
    "negative": (scored(-0.5), "scores outside 0..1"),
    "above": (scored(1.5), "scores outside 0..1"),
    "metric": (
        lambda folder: change_rows(folder, lambda rows: [rows[0] | {"mllmu_cloze": 0.0}, *rows[1:]]),
        "the score of a question is not its mllmu_cloze",
    ),
    "contradiction": (
        lambda folder: change_results(folder, **{"mllmu_by_person,none": 0.25}),
        "a mean score of 0.7500, the results file says 0.2500",
    ),
    "other metric": (
        lambda folder: change_results(folder, **{"mllmu_cloze,none": 1}),
        "a mean mllmu_cloze of 0.7500, the results file says 1.0000",
    ),
    "no number": (
        lambda folder: change_results(folder, **{"mllmu_by_person,none": float("nan")}),
        "the results file says nan",
    ),
}


@pytest.fixture
def command(write_run, tmp_path, monkeypatch):
    """command(words..., model=..., config=...) on a run `a`, damaged by a function -> exit code and what was said."""
    monkeypatch.chdir(tmp_path)

    def call(*words, damage=None, **settings):
        if not (tmp_path / "a").exists():
            settings["model_args"] = "pretrained=m/a"
            folder = write_run("a", SCORES, **{"facts": FACTS, "config": {"model": "mllmu_hf"}} | settings)
            if damage:
                damage(folder)
        done = CliRunner().invoke(app, list(words))
        assert done.exception is None or isinstance(done.exception, UserError | SystemExit), done.exception
        said = isinstance(done.exception, UserError)
        return (2 if said else done.exit_code), f"{done.output}{done.exception if said else ''}"

    return call


@pytest.mark.parametrize("kind", DAMAGE)
def test_damage_is_said_in_its_place_by_every_command(command, kind, tmp_path):
    damage, words = DAMAGE[kind]
    code, table = command("results", "a", "--format", "markdown", damage=damage)
    assert code == 2
    assert "| a | not a result | 0.50 ±.25 \\* |" in table
    assert f"not a result: a: {IMAGE}: " in table
    assert words in table
    code, _ = command("report", "a", "--out", "r")
    assert code == 2
    document = (tmp_path / "r" / "report.md").read_text()
    assert words in document
    assert "| a | not a result |" in document
    code, verdict = command("check", "a")
    assert code == 2
    assert words in " ".join(verdict.split()), verdict
    for words_of_command in (("baseline", "save", "a", "--out", "b"), ("judge", "a", "--dry_run", "--key_env", "")):
        code, said = command(*words_of_command)
        assert (code, words in said) == (2, True), said


@pytest.mark.parametrize("kind", ["nan", "inf", "gone"])
def test_programs_read_null_for_a_damaged_number(command, kind):
    code, text = command("results", "a", "--modalities", "--format", "json", damage=DAMAGE[kind][0])
    first = json.loads(text[: text.rindex("\n}") + 2])["cells"][0]
    assert (code, first["mean"], first["stderr"], first["is_result"]) == (2, None, None, False)
    assert first["notes"] == [f"{IMAGE}: {DAMAGE[kind][1]}"]
    code, text = command("results", "a", "--modalities", "--format", "csv")
    line = next(csv.DictReader(io.StringIO(text)))
    assert (line["mean"], line["is_result"], line["notes"]) == ("", "False", first["notes"][0])


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"config": {"model": "mllmu_hf", "limit": 4.0}, "facts": {"questions": 40}}, "a partial run (--limit 4)"),
        ({"config": {"model": "mllmu_hf", "limit": 0.1}, "facts": {"questions": 40}}, "a partial run (--limit 0.1)"),
        ({"config": {"model": "mllmu_hf", "offset": 36}, "facts": {"questions": 40}}, "a partial run (--offset 36)"),
        ({"config": {"model": "mllmu_hf", "limit": 4}, "facts": {}}, "a partial run (--limit 4)"),
        (
            {"facts": {"questions": 4, "lost": 12, "left_out": {"shown as example": 2, "no image": 12}}},
            "12 of 16 questions were left out (no image)",
        ),
        ({"facts": {"questions": 4, "unscorable": 1}}, "1 questions were left out, whose right answers"),
    ],
)
def test_a_part_is_shown_with_a_mark(command, settings, words, tmp_path):
    code, table = command("results", "a", "--format", "markdown", **settings)
    assert code == 0
    assert "| a | 0.62 ±.38 \\* | 0.50 ±.25 \\* |" in table
    assert f"\\* a: {IMAGE}, {TEXT}, {RETAIN}: {words}" in table
    code, _ = command("report", "a", "--out", "r")
    assert code == 0
    document = (tmp_path / "r" / "report.md").read_text()
    assert "| a | .62 (" in document
    assert ") \\* |" in document
    assert words[:24] in document
    assert command("check", "a")[0] == 2
    assert command("baseline", "save", "a", "--out", "b")[0] == 2


def test_fewer_than_limit_lets_pass_are_damage(command):
    settings = {"config": {"model": "mllmu_hf", "limit": 8}, "facts": {"questions": 40}}
    code, table = command("results", "a", **settings)
    assert code == 2
    assert "4 of 40 questions are scored" in table


def test_a_limit_that_passes_every_question_is_no_part(command):
    code, table = command("results", "a", "--modalities", config={"model": "mllmu_hf", "limit": 100})
    assert (code, "*" in table, "not a result" in table) == (0, False, False)


def test_one_silent_question_of_a_stock_backend_voids_the_row_everywhere(write_run, tmp_path, monkeypatch):
    """The row, whatever its folders: image questions of one run, text questions of another."""
    monkeypatch.chdir(tmp_path)
    stock = {"facts": FACTS, "config": {"model": "llava_hf"}, "model_args": "pretrained=m/llava", "other": {}}
    write_run("all/one", {IMAGE: SCORES[IMAGE]}, **stock)
    two = write_run("all/two", {TEXT: SCORES[TEXT], RETAIN: SCORES[RETAIN]}, **stock)
    change_rows(two, lambda rows: [rows[0] | {"answered": 0}, *rows[1:]], RETAIN)
    done = CliRunner().invoke(app, ["results", "all", "--format", "markdown"])
    assert isinstance(done.exception, UserError)
    assert "| llava | not a result | not a result |" in done.stdout
    shown = CliRunner().invoke(app, ["results", "all", "--format", "markdown", "--allow-unanswered"]).stdout
    assert "| llava (not a result) | 0.62 ±.38 | 0.50 ±.25 \\* |" in shown
    done = CliRunner().invoke(app, ["report", "all", "--out", "r"])
    assert isinstance(done.exception, UserError)
    (line,) = [
        line
        for line in (tmp_path / "r" / "report.md").read_text().split("### Forget")[1].split("###")[0].split("\n")
        if line.startswith("| llava | not")
    ]
    assert line.count("not a result") == 2


def test_parts_of_one_row_in_two_folders_are_pooled(write_run):
    """Before, the later folder took the place of the earlier one."""
    runs = load_runs(
        [write_run("one", {IMAGE: SCORES[IMAGE]}, facts=FACTS), write_run("two", {TEXT: SCORES[TEXT]}, facts=FACTS)]
    )
    (cell,) = cells(runs)
    assert (cell.estimate.questions, cell.estimate.mean, cell.flaws) == (8, pytest.approx(5 / 8), ())
    (alone,) = cells(runs[:1])
    assert [str(flaw) for flaw in alone.flaws] == [f"{IMAGE}: image questions alone"]
    assert "0.75 ±.25 *" in render([alone], "text")


def test_a_leaf_without_questions_is_no_damage(write_run):
    runs = load_runs([write_run("a", {IMAGE: {}, TEXT: SCORES[TEXT]}, facts={})])
    assert row_flaws(runs) == {IMAGE: (), TEXT: ()}
    assert [flaw.weight for cell in cells(runs) for flaw in cell.flaws] == [Weight.PART]


def test_an_unknown_leaf_is_said_by_results_report_and_check(write_run, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    strange = "mllmu_forget_haiku_image"
    folder = write_run("a", SCORES | {strange: {}}, facts=FACTS, other={})
    runner = CliRunner()
    shown = runner.invoke(app, ["results", "a"])
    assert (shown.exit_code, f"a: {strange} is no task that this version knows" in shown.output) == (0, False)
    assert f"{strange} is no task that this version knows: it stands in no table" in shown.output
    assert strange in runner.invoke(app, ["report", "a", "--out", "r"]).output
    assert strange in " ".join(runner.invoke(app, ["check", "a"]).output.split())
    assert any(problem.leaf == strange for problem in open_side("results", [folder], 0.95).problems)


def test_losses_let_a_rule_break_but_never_hold(write_run):
    folder = write_run("a", SCORES, facts={"questions": 4, "lost": 12})
    (problem,) = {p.text: p for p in open_side("results", [folder], 0.95).problems if p.leaf == IMAGE}.values()
    assert (problem.text, problem.hides) == ("12 of 16 questions were left out", False)
    assert Leaf.parse(problem.leaf).name == IMAGE
