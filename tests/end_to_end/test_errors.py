"""Bad input through the real command lines: one sentence, no stack trace, exit code 2."""

import os

import pytest
from command_lines import lmms_eval, mllmu

REPLAY = ("--model", "mllmu_replay", "--model_args", "answers=gold", "--tasks", "mllmu_real")


@pytest.mark.parametrize(
    ("data", "sentence"),
    [
        ("MLLMMU/MLLMU-Bench", "MLLMU_DATA=mini"),
        ("./no-such-folder", "no-such-folder"),
    ],
)
def test_data_that_is_not_there(tmp_path, data, sentence):
    outcome = lmms_eval(tmp_path, *REPLAY, MLLMU_DATA=data)
    assert outcome.code == 2
    assert sentence in outcome.output
    assert outcome.output.count("mllmu: error:") == 1
    assert "Traceback" not in outcome.output
    assert not list(tmp_path.rglob("*_results.json"))


def test_an_adapter_that_is_not_there(tmp_path):
    from mllmu_tasks.benchmarks.mini.tiny import build_tiny_llava

    for part in build_tiny_llava(["a model"]):
        part.save_pretrained(tmp_path / "model")
    outcome = lmms_eval(
        tmp_path,
        *(
            "--model",
            "mllmu_hf",
            "--model_args",
            f"pretrained={tmp_path / 'model'},peft={tmp_path / 'none'}",
        ),
        *("--tasks", "mllmu_real"),
        MLLMU_DATA="mini",
    )
    assert outcome.code == 2
    assert str(tmp_path / "none") in outcome.output
    assert "Traceback" not in outcome.output


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (
            ("unlearn", "--method", "npoo", "--model_name_or_path", "x", "--output_dir", "y"),
            "Did you mean 'npo'",
        ),
        (("unlearn", "--methid", "npo"), "Did you mean"),
        (("data", "validate", "no-such-folder/x"), "no-such-folder/x"),
        (("results", "no-such-folder"), "does not exist"),
        (("export", "no-such-folder", "--out", "z"), "no-such-folder"),
    ],
)
def test_bad_input_of_our_own_commands(tmp_path, arguments, sentence):
    outcome = mllmu(tmp_path, *arguments)
    assert outcome.code == 2
    assert sentence in outcome.output
    assert "Traceback" not in outcome.output


BROKEN = """
import mllmu_tasks.scorers.base

def broken(*_):
    raise RuntimeError("a mistake of ours")

mllmu_tasks.scorers.base.score_answer = broken
"""


def test_a_mistake_of_ours_ends_lmms_evals_threads_and_retries(tmp_path):
    """lmms-eval scores in threads, tries an exception again five times, and would end with exit code 0."""
    (tmp_path / "sitecustomize.py").write_text(BROKEN)
    path = os.pathsep.join([str(tmp_path), os.environ.get("PYTHONPATH", "")])
    outcome = lmms_eval(tmp_path, *REPLAY, MLLMU_DATA="mini", PYTHONPATH=path, MLLMU_CACHE=str(tmp_path / "cache"))
    assert outcome.code == 2
    assert outcome.output.count("mllmu: error: RuntimeError: a mistake of ours.") == 1
    assert "Traceback" not in outcome.output
    assert any("in broken" in file.read_text() for file in (tmp_path / "cache" / "traces").iterdir())


def test_a_terminal_that_only_knows_ascii_gets_all_tables(tmp_path):
    environment = {"MLLMU_DATA": "mini", "PYTHONIOENCODING": "ascii"}
    outcome = lmms_eval(tmp_path, *REPLAY, **environment)
    assert outcome.code == 0
    assert "mllmu_real_cloze_text" in outcome.output
    assert outcome.output.isascii()
    table = mllmu(tmp_path, "results", str(tmp_path / "out"), **environment)
    assert table.code == 0
    assert "1.00 +-.00" in table.output
