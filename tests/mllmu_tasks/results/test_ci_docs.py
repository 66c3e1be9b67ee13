"""docs/ci.md is what people copy: its YAML parses, its policy is one, its commands and flags exist."""

import re
import shlex

import gate_power
import pytest
import typer
import yaml
from places import DOCS

from mllmu_tasks.results.gate.policy import load_policy, parse_policy
from mllmu_unlearn.cli.main import app

TEXT = (DOCS / "ci.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"```(\w+)\n(.*?)```", TEXT, re.DOTALL)
YAML = [yaml.safe_load(body) for kind, body in BLOCKS if kind == "yaml"]


def scripts():
    """Every shell text of the page: bash blocks, steps of the GitHub jobs, scripts of the GitLab jobs."""
    yield from (body for kind, body in BLOCKS if kind == "bash")
    for document in YAML:
        for job in document.get("jobs", {}).values():
            yield from (step["run"] for step in job["steps"] if "run" in step)
        yield from (line for job in document.values() if isinstance(job, dict) for line in job.get("script", []))


def commands(program):
    for script in scripts():
        for line in script.replace("\\\n", " ").splitlines():
            words = shlex.split(line, comments=True)
            if words and words[0] == program:
                yield words[1:]


def test_the_policy_of_the_page_is_understood():
    (body,) = [body for kind, body in BLOCKS if kind == "yaml" and body.startswith("format:")]
    rules = parse_policy(body, "docs/ci.md").rules
    assert {"forget cloze image", "mmmu_val mmmu_acc", "MMMU as it is"} <= {
        rule.name.replace("_5", "") for rule in rules
    }
    for number in ("classification .45", "cloze .20", "generation .40"):
        task, bound = number.split()
        assert {r.bound.amount for r in load_policy(None).rules if r.ceiling and r.task == task} == {float(bound)}
        assert number in TEXT.replace("\n", " ")


def test_workflows_have_their_jobs():
    github, gitlab = YAML[-2:]
    assert set(github["jobs"]) == {"baseline", "gate"}
    assert all(step.keys() & {"run", "uses"} for job in github["jobs"].values() for step in job["steps"])
    assert {job["stage"] for job in gitlab.values() if isinstance(job, dict) and "stage" in job} == set(
        gitlab["stages"]
    )


@pytest.mark.parametrize("words", list(commands("mllmu")), ids=" ".join)
def test_commands_of_the_page_exist(words):
    command = typer.main.get_command(app)
    while words[0] in getattr(command, "commands", {}):
        command, words = command.commands[words[0]], words[1:]
    command.make_context("mllmu", list(words))  # raises for an unknown flag or a missing argument


def test_the_page_evaluates_so_that_samples_are_logged():
    found = list(commands("lmms-eval"))
    assert len(found) >= 6
    assert all("--log_samples" in words and "--output_path" in words for words in found)


def test_the_numbers_of_the_page_have_a_command():
    assert "python benchmarks/gate_power.py power" in TEXT
    for name, scores in (("never knew", (0.367, 0.125, 0.207)), ("finetuned", (0.388, 0.135, 0.242))):
        world = gate_power.LEVELS[f"OPEN-MMUNLEARNING, {name}"]
        assert {level for levels in world.scores.values() for level in levels} == set(scores)
        assert f"({', '.join(f'{score:.3f}'.lstrip('0') for score in scores)})" in TEXT
