"""The command: real `mllmu unlearn` and lmms-eval processes on the mini benchmark."""

import json
import shutil
import signal
import subprocess
import sys

import pytest
import yaml
from left_running import DEADLINE, naming, wait_until
from transformers import training_args
from typer.testing import CliRunner

from mllmu_tasks.benchmarks.mini import data_folder
from mllmu_tasks.errors import UserError
from mllmu_unlearn.cli.main import app
from mllmu_unlearn.experiments.sweep import grid, plan

BASE = {"model_name_or_path": "mini:vanilla", "data": "mini", "forget_ratio": 15}


@pytest.fixture
def sweep(tmp_path):
    """sweep(grid, *flags, **more) -> (exit code or error, output)."""

    def run(grid, *flags, **more):
        file = tmp_path / "trial.yaml"
        file.write_text(yaml.safe_dump({"base": BASE, "grid": grid, **more}, sort_keys=False))
        arguments = ["sweep", str(file), "--out", str(tmp_path / "out"), "--workers", "1", *flags]
        return CliRunner().invoke(app, arguments, catch_exceptions=False).output

    return run


def table(tmp_path) -> dict[str, dict]:
    rows = json.loads((tmp_path / "out" / "table.json").read_text())["rows"]
    return {row["name"]: row for row in rows}


def test_a_cell_is_unlearnt_evaluated_and_has_its_row(sweep, tmp_path):
    more = {"references": {"vanilla": "mini:vanilla"}, "evaluate": {"tasks": "mllmu_forget_15_cloze_text"}}
    more["evaluate"] |= {"batch_size": 16, "model_args": "dtype=float32"}
    grid = {"method": "gradient_ascent", "max_steps": 1, "learning_rate": 1e-6, "dtype": "float32"}
    shown = sweep(grid, "--markdown", str(tmp_path / "doc.md"), **more)
    name = "gradient_ascent-max_steps-1-learning_rate-1e-06-dtype-float32"
    rows = table(tmp_path)
    assert list(rows) == ["vanilla", name]
    assert rows["vanilla"]["forget"] > 0.9
    assert rows[name]["forget"] == rows["vanilla"]["forget"]
    assert rows[name]["verdict"] == "does not forget"
    assert rows[name]["seconds"] > 0
    assert rows[name]["trainable_parameters"] > 1000
    assert f"| {name} |" in (tmp_path / "doc.md").read_text()
    assert "does not forget" in shown
    recipe = yaml.safe_load((tmp_path / "out" / "recipes" / f"{name}.yaml").read_text())
    assert (recipe["method"], recipe["forget_ratio"]) == ("gradient_ascent", 15)
    assert "3 of 3 stages finished" in sweep(grid, **more)


def test_finished_cells_are_kept_a_changed_one_runs_again_and_a_failed_one_is_a_row(sweep, tmp_path):
    def grid(text):
        nobody = {"method": "prompting", "forget_ratio": None, "forget_ids": "zzz"}
        return [{"method": "prompting", "seed": 1, "system_prompt": ["Hush", text]}, nobody]

    with pytest.raises(UserError, match=r"1 of 3 stages have no result: .*no such people"):
        sweep(grid("Quiet"))
    rows = table(tmp_path)
    assert [bool(row["failed"]) for row in rows.values()] == [False, False, True]
    record = tmp_path / "out" / "adapters" / "prompting-seed-1-system_prompt-Hush" / "unlearning.yaml"
    first = record.stat().st_mtime_ns
    shown = sweep(grid("Silence"), "--dry_run")
    assert "finished  unlearn-prompting-seed-1-system_prompt-Hush" in shown
    assert "would run unlearn-prompting-seed-1-system_prompt-Silence" in shown
    changed = record.parent.with_name("prompting-seed-1-system_prompt-Silence") / "unlearning.yaml"
    assert not changed.exists()
    sweep(grid("Silence")[:1])
    assert changed.exists()
    assert record.stat().st_mtime_ns == first


def test_content_that_changes_under_its_name_runs_again(tmp_path):
    folder, alternates, file = tmp_path / "data", tmp_path / "other.jsonl", tmp_path / "trial.yaml"
    shutil.copytree(data_folder(), folder)
    alternates.write_text("{}")
    cells = [{"method": "altpo", "alternates": str(alternates)}, {"method": "npo"}]
    content = {"base": {**BASE, "data": str(folder)}, "grid": cells, "references": {"vanilla": "mini:vanilla"}}
    file.write_text(yaml.safe_dump({**content, "evaluate": {"tasks": "mllmu_15"}}))

    def identities():
        return [stage.identity for stage in plan.make(grid.read(file), plan.SweepFolder(tmp_path / "out")).stages]

    def changed(before, after):
        return [one != other for one, other in zip(before, after, strict=True)]

    first = identities()
    assert identities() == first
    alternates.write_text('{"person": "001"}')
    second = identities()
    assert changed(first, second) == [False, True, False, False, False]  # only the cell that reads them
    (parquet, *_) = sorted((folder / "Full_Set").glob("*.parquet"))
    parquet.write_bytes(parquet.read_bytes() + b"0")
    assert all(changed(second, identities()))


def test_a_dry_run_takes_flags_of_another_machine(sweep, monkeypatch):
    monkeypatch.setattr(training_args, "is_torch_bf16_gpu_available", lambda: False)
    assert "1 cells; 1 of 1 stages would run" in sweep({"method": "npo", "bf16": True}, "--dry_run")
    with pytest.raises(UserError, match=r"cell npo-bf16-True: .*bf16"):
        sweep({"method": "npo", "bf16": True})


@pytest.mark.parametrize(
    ("grid", "more", "message"),
    [
        ({"method": "npo", "lora_rr": 1}, {}, "cell npo-lora_rr-1: .*Did you mean 'lora_r'"),
        ({"method": "npo", "data": ["mini", "other"]}, {}, "different data"),
        ({"method": "npo", "forget_ratio": [5, 15]}, {"evaluate": {"batch_size": 1}}, "different people"),
        (
            [{"method": "npo"}, {"method": "npo", "forget_ratio": None, "forget_ids": "009"}],
            {"evaluate": {"batch_size": 1}},
            r"different people \(ratios \[15\] and forget_ids\)",
        ),
        ({"method": "npo", "model_name_or_path": "no/model"}, {}, "no/model"),
        (
            {"method": "npo", "report_to": "mlflow"},
            {},
            "cell npo-report_to-mlflow: --report_to mlflow needs its package",
        ),
        ({"method": "npo"}, {"evaluate": {"tasks": "mllmu_15,mllmu_forgt"}}, "no task 'mllmu_forgt'.*'mllmu_forget'"),
        ({"method": "npo"}, {"evaluate": {"tasks": "mllmu_nothing*"}}, r"no task 'mllmu_nothing\*'"),
        ({"method": "npo"}, {"evaluate": {"tasks": "mllmu_15,mllmu_forget_15"}}, "ask mllmu_forget_15_.* twice"),
        ({"method": "npo"}, {"evaluate": {"tasks": "mllmu_15,mmmu_vl"}}, "lmms-eval knows no task 'mmmu_vl'.*mmmu_val"),
        ({"method": "npo"}, {"evaluate": {"model": "mllmu_hff"}}, "lmms-eval knows no model 'mllmu_hff'.*'mllmu_hf'"),
        ({"method": "npo"}, {"evaluate": {"model_args": "dtyp=float32"}}, "no argument 'dtyp'.*'dtype'"),
        ({"method": "npo"}, {"evaluate": {"model_args": "dtype=float33"}}, "dtype=float33 is not known"),
        ({"method": "npo"}, {"evaluate": {"model_args": "processor=a,b"}}, "'b', which is no name=value"),
        ({"method": "npo"}, {"evaluate": {"batch_size": 0}}, "--batch_size 0 is neither"),
        ({"method": "npo"}, {"evaluate": {}, "references": {"x": "a,b"}}, "a,b"),
        (
            {"method": "npo", "forget_ratio": None, "forget_ids": "009"},
            {"evaluate": {"batch_size": 1}},
            "mllmu data request",
        ),
    ],
)
def test_every_cell_is_checked_before_anything_runs(sweep, tmp_path, grid, more, message):
    with pytest.raises(UserError, match=message):
        sweep(grid, **more)
    assert not (tmp_path / "out").exists()


def test_nothing_is_written_into_a_foreign_folder_or_document(sweep, tmp_path):
    document = tmp_path / "notes.md"
    document.write_text("no marks")
    with pytest.raises(UserError, match="has no place for the table"):
        sweep({"method": "prompting"}, "--markdown", str(document))
    assert not (tmp_path / "out").exists()
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "table.md").write_text("theirs")
    for flags in ((), ("--dry_run",)):
        with pytest.raises(UserError, match="was not made by `mllmu sweep`; choose another --out"):
            sweep({"method": "prompting"}, *flags)
    assert [file.name for file in (tmp_path / "out").iterdir()] == ["table.md"]
    assert (tmp_path / "out" / "table.md").read_text() == "theirs"


def test_a_schedulers_signal_ends_the_sweep_and_what_it_runs(tmp_path):
    """What is finished is kept, and no process is left."""
    file, out = tmp_path / "trial.yaml", tmp_path / "out"
    cells = [{"method": "prompting"}, {"method": "npo", "num_train_epochs": 1000, "dtype": "float32"}]
    file.write_text(yaml.safe_dump({"base": BASE, "grid": cells}, sort_keys=False))
    command = [sys.executable, "-m", "mllmu_unlearn.cli.main", "sweep", str(file), "--out", str(out), "--workers", "1"]
    with (tmp_path / "said").open("w") as said:
        process = subprocess.Popen(command, stdout=said, stderr=said)
        log = out / "logs" / "unlearn-npo-num_train_epochs-1000-dtype-float32.log"
        wait_until(lambda: log.is_file() and naming(str(out / "adapters" / "npo")))
        process.send_signal(signal.SIGTERM)
        code = process.wait(DEADLINE)
    assert code == 143
    wait_until(lambda: not naming(str(out)))
    assert "Stopped. Finished cells are kept" in (tmp_path / "said").read_text()
    assert (out / "stages" / "unlearn-prompting.json").is_file()
    assert (out / "adapters" / "prompting" / "unlearning.yaml").is_file()
