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
