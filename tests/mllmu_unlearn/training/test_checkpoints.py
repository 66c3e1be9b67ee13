"""Damaged checkpoints: the run goes on from the one before, and ends as if nothing had happened."""

import os
import shutil

import pytest
import torch
from safetensors.torch import load_file

from mllmu_tasks.errors import UserError
from mllmu_unlearn.config.commands import FinetuneConfig, UnlearnConfig, parse
from mllmu_unlearn.training import run
from mllmu_unlearn.training.checkpoints import checkpoints, damage

WRITES = "adapter_model.safetensors"


def cut(file):
    os.truncate(file, file.stat().st_size * 2 // 3)


def empty(file):
    os.truncate(file, 0)


def zeros(file):
    """What a power cut leaves of a file that was not synced."""
    size = file.stat().st_size
    with file.open("r+b") as content:
        content.seek(size // 3)
        content.write(bytes(size // 3))


def gone(file):
    file.unlink()


DAMAGES = [
    ("optimizer.pt", cut),
    ("optimizer.pt", zeros),
    ("optimizer.pt", gone),
    ("scheduler.pt", cut),
    ("rng_state.pth", empty),
    ("method_state.pt", cut),
    ("trainer_state.json", empty),
    ("trainer_state.json", cut),
    (WRITES, cut),
    (WRITES, gone),
]


@pytest.fixture(scope="module")
def stopped(checkpoint, data, tmp_path_factory):
    """(argv, folder of a run that ended in step 4 with checkpoints 1, 2 and 3, weights of a whole run)."""
    home = tmp_path_factory.mktemp("stopped")
    argv = ["--model_name_or_path", str(checkpoint), "--data", str(data), "--max_steps", "4", "--lora_r", "2"]
    argv += ["--learning_rate", "5e-3", "--disable_tqdm", "true", "--use_cpu", "--method", "npo"]
    argv += ["--forget_ratio", "5", "--save_strategy", "steps", "--save_steps", "1", "--save_total_limit", "3"]
    whole = run.unlearn(parse(UnlearnConfig, [*argv, "--keep_checkpoints", "--output_dir", str(home / "out")]))
    shutil.rmtree(home / "out.checkpoints" / "checkpoint-4")
    return argv, home / "out.checkpoints", load_file(whole / WRITES)


@pytest.fixture
def resume(stopped, tmp_path):
    argv, work, weights = stopped
    here = shutil.copytree(work, tmp_path / "out.checkpoints")

    def go(value: str = "true"):
        out = run.unlearn(
            parse(UnlearnConfig, [*argv, "--output_dir", str(tmp_path / "out"), "--resume_from_checkpoint", value])
        )
        again = load_file(out / WRITES)
        assert all(torch.equal(again[name], weights[name]) for name in weights)

    return go, here


def test_whole_checkpoints_have_no_damage(stopped):
    _, work, _ = stopped
    found = checkpoints(work)
    assert [step for step, _ in found] == [2, 3]
    assert [damage(folder) for _, folder in found] == [None, None]


@pytest.mark.parametrize(("name", "spoil"), DAMAGES, ids=[f"{name}-{spoil.__name__}" for name, spoil in DAMAGES])
def test_every_damage_is_seen(stopped, tmp_path, name, spoil):
    folder = shutil.copytree(stopped[1] / "checkpoint-3", tmp_path / "checkpoint-3")
    spoil(folder / name)
    assert damage(folder).startswith("a file of weights is" if (name, spoil) == (WRITES, gone) else f"{name} is")


@pytest.mark.parametrize(("name", "spoil"), [DAMAGES[0], DAMAGES[6], DAMAGES[8]])
def test_the_checkpoint_before_it_is_taken(resume, capsys, name, spoil):
    go, work = resume
    spoil(work / "checkpoint-3" / name)
    go()
    said = capsys.readouterr().out
    assert f"checkpoint-3 is damaged ({name} is" in said
    assert "starting anew" not in said
    assert not work.exists()


def test_without_a_whole_one_it_starts_anew(resume, capsys):
    go, work = resume
    for _, folder in checkpoints(work):
        cut(folder / "optimizer.pt")
    go()
    assert "starting anew; removed 2 checkpoints" in capsys.readouterr().out


def test_a_damaged_one_by_its_path_is_refused(resume):
    go, work = resume
    cut(work / "checkpoint-3" / "optimizer.pt")
    with pytest.raises(UserError, match=r"checkpoint-3' is damaged \(optimizer.pt is damaged\); leave the path out"):
        go(str(work / "checkpoint-3"))
    go(str(work / "checkpoint-2"))


def test_a_whole_model_without_all_its_tensors(checkpoint, data, tmp_path):
    """The file can be read, and holds less than the model: what is missing would be random."""
    from safetensors.torch import save_file

    argv = ["--model_name_or_path", str(checkpoint), "--data", str(data), "--max_steps", "2", "--use_cpu"]
    argv += ["--disable_tqdm", "true", "--save_strategy", "steps", "--save_steps", "1"]
    argv += ["--save_total_limit", "2", "--output_dir", str(tmp_path / "out")]
    run.finetune(parse(FinetuneConfig, [*argv, "--keep_checkpoints"]))
    file = tmp_path / "out.checkpoints" / "checkpoint-1" / "model.safetensors"
    kept = {name: tensor for name, tensor in load_file(file).items() if "projector" not in name}
    save_file(kept, file, metadata={"format": "pt"})
    more = ["--overwrite_output_dir", "true", "--resume_from_checkpoint", str(file.parent)]
    with pytest.raises(UserError, match="checkpoint-1' lacks 4 tensors"):
        run.finetune(parse(FinetuneConfig, [*argv, *more]))


def test_a_run_that_cannot_begin_removes_nothing(stopped, tmp_path):
    """The mistake shows only once the model is loaded."""
    argv, work, _ = stopped
    here = shutil.copytree(work, tmp_path / "out.checkpoints")
    before = sorted(here.rglob("*"))
    out = ["--output_dir", str(tmp_path / "out"), "--method", "rmu", "--layer", "absent"]
    with pytest.raises(UserError, match="fits 0 modules"):
        run.unlearn(parse(UnlearnConfig, [*argv, *out]))
    assert sorted(here.rglob("*")) == before
