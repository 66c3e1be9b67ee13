"""An adapter's base model is known by its weights, however it is called; by its name if these are elsewhere."""

import json
import shutil

import pytest
import torch
from adapters import make_adapter
from huggingface_hub import constants
from loguru import logger
from safetensors.torch import load_file, save_file
from transformers import AutoModelForImageTextToText

from mllmu_tasks.artifacts.adapter_folder import attach, read_adapter
from mllmu_tasks.artifacts.made_from import check_base, require_this
from mllmu_tasks.errors import UserError
from mllmu_tasks.harness.hf import MllmuHf


@pytest.fixture
def named(folders, tmp_path):
    """named(base) -> an adapter of the tiny model without a record, that names `base`."""
    folder = make_adapter(folders(), tmp_path / "made", "lora", record={})

    def name(base):
        config = json.loads((folder / "adapter_config.json").read_text()) | {"base_model_name_or_path": base}
        (folder / "adapter_config.json").write_text(json.dumps(config))
        return read_adapter(folder)

    return name


@pytest.fixture
def cached(folders, tmp_path, monkeypatch):
    """The tiny model as the hub's cache holds it, under the id some/tiny."""
    repository = tmp_path / "hub" / "models--some--tiny"
    (repository / "refs").mkdir(parents=True)
    (repository / "refs" / "main").write_text("0" * 40)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    return shutil.copytree(folders(), repository / "snapshots" / ("0" * 40))


def with_other_weights(base, folder):
    shutil.copytree(base, folder)
    tensors = load_file(folder / "model.safetensors")
    next(iter(tensors.values())).view(-1)[3] += 1
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
    return folder


@pytest.mark.parametrize("base", ["/elsewhere/mine", r"C:\models\mine", "some/Mine", "mine"])
def test_a_model_that_is_not_here_is_known_by_its_name(folders, tmp_path, named, base):
    mine = shutil.copytree(folders(), tmp_path / "mine")
    check_base(named(base), str(mine))
    with pytest.raises(UserError, match=r"names the base model .*, which is not on this machine.* base=this"):
        check_base(named(base), str(folders()))


def test_a_hub_id_and_its_snapshot_are_one_model(folders, tmp_path, named, cached):
    for pretrained in (cached, folders()):
        check_base(named("some/tiny"), str(pretrained))
    check_base(named(str(cached)), "some/tiny")
    other = with_other_weights(folders(), tmp_path / "tiny")
    with pytest.raises(UserError, match=r"made from 'some/tiny' .* has other weights"):
        check_base(named("some/tiny"), str(other))


def test_a_snapshot_bears_its_repositorys_name(named, folders, tmp_path):
    snapshot = shutil.copytree(folders(), tmp_path / "models--some--tiny" / "snapshots" / "abc")
    check_base(named("other/tiny"), str(snapshot))


def test_weights_count_more_than_names(folders, tmp_path, named):
    copy = shutil.copytree(folders(), tmp_path / "called-otherwise")
    check_base(named(str(folders())), str(copy))
    same_name = with_other_weights(folders(), tmp_path / "elsewhere" / folders().name)
    with pytest.raises(UserError, match="has other weights"):
        check_base(named(str(folders())), str(same_name))


def test_what_the_caller_says_is_believed_and_said(folders, named):
    said = []
    sink = logger.add(said.append, level="WARNING")
    base = str(folders())
    loaded = AutoModelForImageTextToText.from_pretrained(base)
    attach(loaded, named("somebody/tiny-bnb-4bit"), base, declared=True)
    logger.remove(sink)
    assert any("at your word (base=this)" in line for line in said)


def test_the_models_take_the_argument(capsys, folders, named):
    base, adapter = str(folders()), str(named("somebody/tiny-bnb-4bit").path)
    with pytest.raises(SystemExit):
        MllmuHf(pretrained=base, peft=adapter, device="cpu")
    assert "base=this" in capsys.readouterr().err
    made = MllmuHf(pretrained=base, peft=adapter, base="this", device="cpu")
    assert any("lora_A" in name for name, _ in made.model.named_parameters())
    with torch.inference_mode():
        assert made.model(input_ids=torch.tensor([[3, 4]])).logits.isfinite().all()


def test_no_other_word_is_taken():
    assert require_this(None, "an/adapter") is False
    assert require_this("this", "an/adapter") is True
    with pytest.raises(UserError, match="base='that' is not known"):
        require_this("that", "an/adapter")
    with pytest.raises(UserError, match="add peft="):
        require_this("this", None)
