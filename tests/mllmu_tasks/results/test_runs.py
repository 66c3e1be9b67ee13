import json
import os

import pytest

from mllmu_tasks.errors import UserError
from mllmu_tasks.results.runs import load_run, load_runs

LEAF = "mllmu_forget_cloze_image"


def test_reads_samples_facts_and_other_benchmarks(write_run):
    folder = write_run("npo", {LEAF: {"009": [1.0, 0.0]}}, model_args="pretrained=/m/vanilla,peft=/a/npo")
    (run,) = load_runs([folder])
    assert run.name == "npo"
    assert [(s.person, s.question_index, s.score) for s in run.samples] == [("009", 0, 1.0), ("009", 1, 0.0)]
    assert run.samples[0].metrics == {"mllmu_cloze": 1.0}
    assert run.facts[LEAF]["data_hash"] == "d1"
    assert run.other_results == {"mmmu_val": {"acc,none": 0.4}}
    assert run.answered_rate == 1


def test_a_results_file_alone_is_read_too(write_run):
    folder = write_run("a", {LEAF: {"1": [1.0]}})
    (file,) = folder.rglob("*_results.json")
    assert load_runs([file])[0].samples == load_run(file).samples


def test_what_is_missing_is_named(write_run, tmp_path):
    with pytest.raises(UserError, match="does not exist"):
        load_runs([tmp_path / "nothing"])
    (tmp_path / "empty").mkdir()
    with pytest.raises(UserError, match="exit code 0 even when a run failed"):
        load_runs([tmp_path / "empty"])
    with pytest.raises(UserError, match="--log_samples"):
        load_runs([write_run("no-samples", {LEAF: {"1": [1.0]}}, skip_samples=True)])


def test_a_torn_sample_line_is_an_error_that_names_the_line(write_run):
    folder = write_run("torn", {LEAF: {"1": [1.0]}})
    (file,) = folder.rglob("*.jsonl")
    file.write_text(file.read_text() + '{"person": "2", "sco')
    with pytest.raises(UserError, match="line 2 is no scored MLLMU question"):
        load_runs([folder])


def damage(folder, pattern, change):
    """Write a file of an output folder anew: change(text) -> text."""
    (file,) = folder.rglob(pattern)
    file.write_bytes(change(file.read_text(encoding="utf-8")).encode("utf-8", "surrogateescape"))
    return folder


@pytest.mark.parametrize(
    ("old", "new", "why"),
    [
        ('"person": "1"', '"person": {"a": 1}', "'person' is"),
        ('"person": "1"', '"person": 7', "'person' is 7, where a text is needed"),
        ('"score": 1.0', '"score": "high"', "'score' is"),
        ('"score": 1.0', '"score": true', "'score' is"),
        ('"score": 1.0', f'"score": 1{"0" * 400}', "larger than any number"),
        ('"question_index": 0', '"question_index": [0]', "'question_index' is"),
        ('"prediction": "x"', '"prediction": 5', "'prediction' is 5"),
        ('"gold": "y"', '"gold": null', "'gold' is None"),
        ('"answered": 1', '"answered": "no"', "'answered' is"),
        ('"person": "1"', '"nobody": "1"', "'person' is missing"),
        ('"x"', '"\udcff"', "can't decode"),
        ('"doc_id": 0', '"doc_id": ' + "[" * 100_000, "nested too deeply"),
    ],
)
def test_a_sample_of_other_types_is_one_sentence(write_run, old, new, why):
    folder = damage(write_run("a", {LEAF: {"1": [1.0]}}), "*.jsonl", lambda text: text.replace(old, new, 1))
    with pytest.raises(UserError, match="line 1 is no scored MLLMU question") as said:
        load_runs([folder])
    assert why in str(said.value)
    assert len(str(said.value)) < 600


@pytest.mark.parametrize(
    ("content", "why"),
    [
        ("[" * 100_000, "nested too deeply"),
        ("\udcff", "can't decode"),
        ("[1]", "no JSON object"),
        ("{}", "'results' is missing"),
        ('{"results": [1]}', "'results' is"),
        ('{"results": {"mllmu_real_cloze_text": 1}}', "'mllmu_real_cloze_text' is 1"),
        ('{"results": {}, "config": "x"}', "'config' is"),
        ('{"results": {}, "config": {"limit": "abc"}}', "'limit' is"),
        ('{"results": {}, "config": {"limit": NaN}}', "'limit' is nan"),
        ('{"results": {}, "config": {"model": 5}}', "'model' is 5"),
        ('{"results": {}, "config": {"model_args": [1]}}', "'model_args' is"),
        ('{"results": {}, "config": {"resolved_cli_args": 1}}', "'resolved_cli_args' is 1"),
        ('{"results": {}, "throughput": 1}', "'throughput' is 1"),
        ('{"results": {"a": {"mllmu_facts,none": "{\\"shots\\": 7}"}}}', "'shots' is 7"),
        ('{"results": {"a": {"mllmu_facts,none": "{\\"shots\\": [1"}}}', "mllmu_facts,none of a"),
    ],
)
def test_a_results_file_of_other_types_is_one_sentence(write_run, content, why):
    folder = damage(write_run("a", {LEAF: {"1": [1.0]}}), "*_results.json", lambda _: content)
    with pytest.raises(UserError, match="is no results file of lmms-eval") as said:
        load_runs([folder])
    assert why in str(said.value)
    assert len(str(said.value)) < 600


def test_answers_with_line_separators_nul_and_half_a_pair(write_run):
    said = "a\u2028b\u2029c\x85d\x0be\x1cf\x00g"
    text = json.dumps(said, ensure_ascii=False)[:-1] + '\\ud800"'
    folder = damage(write_run("a", {LEAF: {"1": [1.0, 0.0]}}), "*.jsonl", lambda rows: rows.replace('"x"', text))
    (run,) = load_runs([folder])
    assert [sample.prediction for sample in run.samples] == [f"{said}\ufffd"] * 2


def test_a_leaf_that_this_version_does_not_know_is_kept_by_name(write_run):
    scores = {LEAF: {"1": [1.0]}, "mllmu_forget_haiku_image": {}, "mllmu_forget": {}, "mllmu_15": {}}
    assert load_runs([write_run("a", scores)])[0].unknown == ("mllmu_forget_haiku_image",)
    with pytest.raises(UserError, match=r"that this version knows \(mllmu_forget_haiku_image\)"):
        load_runs([write_run("b", {"mllmu_forget_haiku_image": {}})])


def test_a_named_pipe_is_no_results_file(write_run):
    folder = write_run("a", {LEAF: {"1": [1.0]}})
    os.mkfifo(folder / "x_results.json")
    assert len(load_runs([folder])) == 1
