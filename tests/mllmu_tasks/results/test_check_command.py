"""`mllmu check` and `mllmu baseline` as they are called in CI."""

import json
import re
from xml.etree import ElementTree

import pytest
from typer.testing import CliRunner

from mllmu_tasks.errors import UserError
from mllmu_tasks.results.gate.printing import as_json, junit, markdown, text
from mllmu_unlearn.cli.main import app

FORGET = "mllmu_forget_cloze_image"
RETAIN = "mllmu_retain_cloze_image"
POLICY = """
rules:
  - {split: retain, task: cloze, modality: image, at_least: baseline - 0.06}
  - {split: forget, task: cloze, modality: image, at_most: 0.3333}
"""


@pytest.fixture
def write_run(write_judged):
    return write_judged


def people(count, scores):
    return {f"{number:03}": list(scores) for number in range(1, count + 1)}


@pytest.fixture
def policy(tmp_path):
    file = tmp_path / "policy.yaml"
    file.write_text(POLICY)
    return file


@pytest.fixture
def runs(write_run):
    kept = people(60, [1, 0])
    return {
        "vanilla": write_run("vanilla", {FORGET: people(20, [1, 1]), RETAIN: kept}),
        "good": write_run("good", {FORGET: people(20, [0, 0]), RETAIN: kept}),
        "few": write_run("few", {FORGET: people(4, [0, 0]), RETAIN: kept}),
    }


def mllmu(*arguments, **environment):
    environment = {"GITHUB_STEP_SUMMARY": "", **environment}
    found = CliRunner().invoke(app, list(map(str, arguments)), env=environment)
    if isinstance(found.exception, UserError):
        return 2, str(found.exception)
    assert found.exception is None or isinstance(found.exception, SystemExit), found.exception
    return found.exit_code, found.output


def test_exit_codes_and_the_last_line(runs, policy):
    baseline = ("--policy", policy, "--baseline", runs["vanilla"])
    code, output = mllmu("check", runs["vanilla"], *baseline)
    assert (code, output.splitlines()[-1][:24]) == (1, "BROKEN: 1 of 2 rules, fi")
    code, output = mllmu("check", runs["good"], *baseline)
    assert (code, output.splitlines()[-1]) == (0, "HELD: all 2 rules")
    code, output = mllmu("check", runs["few"], *baseline)
    assert code == 2
    assert "about 8 would do" in output
    code, output = mllmu("check", runs["few"], *baseline, "--undecided", "warn")
    assert (code, output.splitlines()[-1]) == (0, "UNDECIDED: 1 of 2 rules (let pass by --undecided=warn)")


def test_what_broke_comes_first_in_every_output(runs, policy, tmp_path):
    files = {name: tmp_path / "out" / f"verdict.{name}" for name in ("junit", "markdown", "json")}
    summary = tmp_path / "summary.md"
    summary.write_text("before\n")
    flags = [part for name, file in files.items() for part in (f"--{name}", file)]
    code, output = mllmu("check", runs["vanilla"], "--policy", policy, *flags, GITHUB_STEP_SUMMARY=str(summary))
    assert code == 1
    assert output.index("forget cloze image") < output.index("retain cloze image")
    data = json.loads(files["json"].read_text())
    assert (data["schema"], data["verdict"], data["exit_code"]) == (1, "BROKEN", 1)
    assert [rule["verdict"] for rule in data["rules"]] == ["BROKEN", "UNDECIDED"]
    assert data["rules"][0]["people"] == 20
    assert data["rules"][0]["p_adjusted"] < 0.05
    suite = ElementTree.parse(files["junit"]).getroot().find("testsuite")
    assert (suite.get("tests"), suite.get("failures"), suite.get("errors")) == ("3", "1", "2")
    assert "demanded ≤ 0.3333" in suite.find("testcase/failure").get("message")
    written = files["markdown"].read_text()
    assert "| BROKEN | forget cloze image |" in written
    assert summary.read_text() == "before\n" + written


def test_reports_are_written_for_a_run_that_left_nothing(runs, tmp_path):
    (tmp_path / "killed").mkdir()
    code, output = mllmu("check", tmp_path / "killed", "--junit", tmp_path / "j.xml", "--undecided", "warn")
    assert code == 2
    assert "failed or was killed" in " ".join(output.split())
    assert ElementTree.parse(tmp_path / "j.xml").getroot().get("errors") == "1"
    code, output = mllmu("check", runs["good"], "--baseline", tmp_path / "none")
    assert (code, "does not exist" in output) == (2, True)
    (torn,) = runs["few"].rglob("*_results.json")
    torn.write_text('{"results": {"mllmu_forg')
    assert mllmu("check", runs["few"])[0] == 2
    torn.write_text('{"results": ["no mapping"]}')
    assert mllmu("check", runs["few"])[0] == 2


def test_bad_input(runs, tmp_path):
    assert mllmu("check")[0] == 2
    assert mllmu("check", runs["good"], "--policy", tmp_path / "none.yaml")[0] == 2
    assert mllmu("check", runs["good"], "--undecided", "maybe")[0] == 2
    assert mllmu("check", "--show-policy")[1].startswith("# What `mllmu check` demands")


def test_names_from_outside_cannot_break_out(write_run, policy):
    from mllmu_tasks.results.gate.evaluation import open_side
    from mllmu_tasks.results.gate.judge import judge
    from mllmu_tasks.results.gate.policy import parse_policy

    nasty = "<script>|[x](y)\x00\x1b[31m&"
    rules = parse_policy(
        "rules: [{split: forget, task: cloze, modality: image, at_most: 0.1, name: N}]".replace("N", json.dumps(nasty)),
        "p",
    )
    folder = write_run("a", {FORGET: people(9, [1, 1])}, model_args=f"peft=x/{nasty}")
    gate = judge(rules, open_side("results", [folder], 0.95))
    shown = markdown(gate)
    assert "<script>" not in shown
    assert "\x00" not in shown
    assert not re.search(r"(?<!\\)\[x(?<!\\)\]\(", shown)
    assert ElementTree.fromstring(junit(gate).split("\n", 1)[1]).find(".//testcase").get("name").startswith("<script>")
    assert json.loads(as_json(gate))["rules"][0]["rule"] == nasty
    assert "\x1b[31m" not in text(gate)


def test_baseline_is_pinned_and_guarded(runs, policy, tmp_path):
    pinned = tmp_path / "pinned"
    assert mllmu("baseline", "save", runs["vanilla"], "--out", pinned, "--name", "v1")[0] == 0
    assert mllmu("check", runs["good"], "--policy", policy, "--baseline", pinned)[0] == 0
    code, output = mllmu("baseline", "show", pinned)
    assert (code, output.splitlines()[0]) == (0, "v1: mllmu_hf pretrained=m")
    assert "seed: 0" in output
    assert f"weights: {'b' * 32}" in output
    assert "whole_data: w1" in output
    assert "exists already" in mllmu("baseline", "save", runs["good"], "--out", pinned)[1]
    assert mllmu("baseline", "save", runs["good"], "--out", pinned, "--replace")[0] == 0
    assert json.loads((pinned / "baseline.json").read_text())["name"] == "good"
    (samples,) = pinned.rglob(f"*{RETAIN}.jsonl")
    samples.write_text(samples.read_text().replace('"score": 1', '"score": 0'))
    code, output = mllmu("check", runs["good"], "--policy", policy, "--baseline", pinned)
    assert (code, "changed or lost" in output) == (2, True)
    assert mllmu("baseline", "show", pinned)[0] == 2
    assert not list(tmp_path.glob(".pinned-*"))


def test_baseline_refuses_what_cannot_be_compared_with(write_run, tmp_path):
    partial = write_run("partial", {RETAIN: people(9, [1, 1])}, config={"limit": 3})
    code, output = mllmu("baseline", "save", partial, "--out", tmp_path / "b")
    assert (code, "--limit 3" in output) == (2, True)
    assert not (tmp_path / "b").exists()
    assert "no pinned baseline" in mllmu("baseline", "show", partial)[1]
    (tmp_path / "mine").mkdir()
    whole = write_run("whole", {RETAIN: people(9, [1, 1])})
    assert "leaves it alone" in mllmu("baseline", "save", whole, "--out", tmp_path / "mine", "--replace")[1]
