"""A backend that swallows its errors: the run ends with loud words, and `mllmu results` calls it no result."""

import csv
import io
import json

import pytest
from command_lines import _run
from typer.testing import CliRunner

from mllmu_tasks.errors import UserError
from mllmu_unlearn.cli.main import app

BACKEND = """
from lmms_eval.api.model import lmms

class Swallows(lmms):
    is_simple = False

    def __init__(self, **arguments):
        super().__init__()

    def generate_until(self, requests):
        return [self.answer(*request.args) for request in requests]

    def answer(self, context, doc_to_messages, settings, doc_id, task, split):
        try:
            turns = doc_to_messages(self.task_dict[task][split][doc_id])
            images = [part for turn in turns for part in turn["content"] if part["type"] == "image"]
            return f"A person {images[0]['url'].size}"
        except Exception:
            return ""

    def loglikelihood(self, requests): ...
    def generate_until_multi_round(self, requests): ...
"""
COMMAND = """
from lmms_eval.models import MODEL_REGISTRY_V2
from lmms_eval.models.registry_v2 import ModelManifest
MODEL_REGISTRY_V2.register_manifest(ModelManifest("swallows", chat_class_path="swallows.Swallows"))
from lmms_eval.__main__ import cli_evaluate
cli_evaluate()
"""


@pytest.fixture(scope="module")
def outcome(tmp_path_factory):
    import sys

    folder = tmp_path_factory.mktemp("swallows")
    (folder / "swallows.py").write_text(BACKEND)
    arguments = ("--model", "swallows", "--tasks", "mllmu_real_generation_image,mllmu_real_generation_text")
    output = ("--log_samples", "--output_path", str(folder / "out"))
    command = [sys.executable, "-c", COMMAND, *arguments, *output]
    return _run(command, folder, folder / "out", {"MLLMU_DATA": "mini"})


def test_the_run_ends_with_the_warning_and_its_cause(outcome):
    assert outcome.code == 0  # lmms-eval's own exit code: it knows of no failure
    end = outcome.output[-1000:]
    assert "mllmu: 24 of 48 questions not answered" in end
    assert "mllmu_real_generation_text 24 of 24" in end
    assert "Likely cause: this backend cannot answer questions without an image; see docs/backends.md" in end


def test_the_results_file_carries_it(outcome):
    results = outcome.results["results"]
    assert results["mllmu_real_generation_text"]["mllmu_answered,none"] == 0
    assert results["mllmu_real_generation_image"]["mllmu_answered,none"] == 1


def test_the_table_says_not_a_result(outcome):
    shown = CliRunner().invoke(app, ["results", str(outcome.folder), "--modalities", "--format", "markdown"])
    assert isinstance(shown.exception, UserError)  # which `mllmu` ends with exit code 2
    assert "left questions without an answer" in str(shown.exception)
    assert "| swallows | not a result | not a result | 50% | 1,2 | 0 |" in shown.stdout
    assert "swallows: 24 of 48 questions not answered" in shown.stderr


def test_told_to_it_shows_the_numbers_and_still_what_they_are(outcome):
    def shown(form):
        done = CliRunner().invoke(app, ["results", str(outcome.folder), "--allow-unanswered", "--format", form])
        assert done.exit_code == 0
        return done.stdout

    assert "swallows (not a result)" in shown("text")
    found = json.loads(shown("json"))
    assert found["runs"][0]["is_result"] is False
    assert (found["runs"][0]["unanswered"], found["runs"][0]["questions"]) == (24, 48)
    assert {cell["is_result"] for cell in found["cells"]} == {False}
    assert [row["is_result"] for row in csv.DictReader(io.StringIO(shown("csv")))] == ["False"]
