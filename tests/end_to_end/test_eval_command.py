"""`mllmu eval` leaves the files that separate lmms-eval runs leave."""

import json
import re
from pathlib import Path

import pytest
from adapters import make_adapter, make_prompt_folder
from command_lines import lmms_eval, mllmu, mllmu_in_two

from mllmu_tasks.benchmarks.mini import checkpoint
from mllmu_tasks.results.runs import load_runs

TASKS = "mllmu_forget_15,mllmu_real_classification_image"
VARYING = ("date", "start_time", "end_time", "total_evaluation_time_seconds", "throughput", "config", "git_hash")


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    """Results of `mllmu eval`, of lmms-eval alone for its LoRA adapter, and of `mllmu eval` in two processes."""
    home = tmp_path_factory.mktemp("eval")
    base = checkpoint("vanilla")
    (home / "together").mkdir()
    lora = make_adapter(base, home / "lora", "lora")
    prompt = make_prompt_folder(base, home / "prompt", "You know nobody.")
    more = ("--tasks", TASKS, "--batch_size", "32")
    together = mllmu(
        home / "together",
        *("eval", "--base", str(base), "--adapters", str(prompt), str(lora), "--with_base"),
        *("--model_args", "dtype=float32", *more, "--output_path", "out"),
        MLLMU_DATA="mini",
        MLLMU_CACHE=str(home / "cache of together"),
    )
    assert together.code == 0, together.output[-2000:]
    alone = lmms_eval(
        home / "alone",
        *("--model", "mllmu_hf", "--model_args", f"pretrained={base},peft={lora},dtype=float32", *more),
        MLLMU_DATA="mini",
        MLLMU_CACHE=str(home / "cache of alone"),
    )
    (home / "two").mkdir()
    two = mllmu_in_two(
        home / "two",
        *("eval", "--base", str(base), "--adapters", str(lora), "--with_base", "--model_args", "dtype=float32", *more),
        *("--output_path", "out"),
        MLLMU_DATA="mini",
        MLLMU_CACHE=str(home / "cache of two"),
        OMP_NUM_THREADS="1",
    )
    assert two.code == 0, two.output[-2000:]
    return together.folder / "out", alone.folder, two.folder / "out"


def files(folder: Path) -> dict[str, Path]:
    return {file.name.split("_", 2)[2]: file for file in folder.rglob("*.json*")}


def results(folder: Path) -> dict:
    """Without the addresses of functions, which lmms-eval writes down."""
    return json.loads(re.sub(r" at 0x[0-9a-f]+", "", files(folder)["results.json"].read_text()))


def test_files_and_samples_are_the_same(folders):
    together, alone, _ = folders
    ours, theirs = files(together / "lora"), files(alone)
    assert set(ours) == set(theirs)
    assert {f.parent.name for f in ours.values()} == {f.parent.name for f in theirs.values()}
    samples = [name for name in ours if name.startswith("samples")]
    assert len(samples) == 7
    for name in samples:
        assert ours[name].read_text() == theirs[name].read_text()


def test_results_are_the_same(folders):
    one, other = (results(folder) for folder in (folders[0] / "lora", folders[1]))
    assert set(one) == set(other)
    for key in set(one) - set(VARYING):
        assert one[key] == other[key], key
    assert {k: v for k, v in one["config"].items() if k != "resolved_cli_args"} == {
        k: v for k, v in other["config"].items() if k != "resolved_cli_args"
    }
    assert one["throughput"]["avg_images_encoded"] == 0  # all seen with the adapter before
    assert other["throughput"]["avg_images_encoded"] > 0


def test_two_processes_share_the_questions_and_leave_the_same(folders):
    together, alone, two = folders
    ours, theirs = files(two / "lora"), files(alone)
    assert set(ours) == set(theirs)
    for name in (name for name in ours if name.startswith("samples")):
        one, other = (sorted(json.loads(line)["doc_id"] for line in f[name].open()) for f in (ours, theirs))
        assert one == other
    for run, expected in (("lora", alone), ("base", together / "base")):
        ours, theirs = (results(folder)["results"] for folder in (two / run, expected))
        assert set(ours) == set(theirs)
        for leaf in ours:  # means of the same samples in another order
            numbers = [{k: v for k, v in r[leaf].items() if isinstance(v, float)} for r in (ours, theirs)]
            assert numbers[0] == pytest.approx(numbers[1], rel=1e-9)
        answers = [
            {(s.leaf, s.person, s.question): s.prediction for s in load_runs([folder])[0].samples}
            for folder in (two / run, expected)
        ]
        assert answers[0] == answers[1]
    counted = results(two / "lora")["throughput"]["avg_questions"]
    assert counted < results(alone)["throughput"]["avg_questions"]


def test_every_run_is_its_own(folders):
    runs = {path.name: load_runs([path])[0] for path in sorted(folders[0].iterdir())}
    assert set(runs) == {"base", "lora", "prompt"}
    answers = {name: tuple(sample.prediction for sample in run.samples) for name, run in runs.items()}
    assert len(set(answers.values())) == 3
