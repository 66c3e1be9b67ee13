"""Models that are not what they should be: one sentence, the same in evaluation and in training."""

import json
import shutil

import pytest
import torch
from adapters import make_adapter, make_prompt_folder
from asking import MIXED, ask
from safetensors.torch import load_file, save_file
from transformers import AutoModelForImageTextToText

from mllmu_tasks.artifacts.identity import weights_fingerprint
from mllmu_tasks.artifacts.weight_files import INDEX, WHOLE
from mllmu_tasks.errors import UserError
from mllmu_tasks.harness.hf import MllmuHf
from mllmu_unlearn.config.commands import FinetuneConfig, parse
from mllmu_unlearn.toolbox.adapter_sites import refuse_adapter_folder
from mllmu_unlearn.training import base_model


@pytest.fixture
def base(folders, tmp_path):
    return shutil.copytree(folders(), tmp_path / "base")


def one_number(value):
    def change(base):
        tensors = load_file(base / WHOLE)
        tensors[sorted(tensors)[3]].view(-1)[0] = value
        save_file(tensors, base / WHOLE, metadata={"format": "pt"})

    return change


def in_shards(base):
    model = AutoModelForImageTextToText.from_pretrained(base)
    (base / WHOLE).unlink()
    model.save_pretrained(base, max_shard_size="40KB")
    return sorted(base.glob("model-*.safetensors"))


def without_a_shard(base):
    in_shards(base)[1].unlink()


def with_a_torn_shard(base):
    shard = in_shards(base)[1]
    shard.write_bytes(shard.read_bytes()[:-9])


def with_an_index_to_elsewhere(base):
    in_shards(base)
    index = json.loads((base / INDEX).read_text())
    index["weight_map"]["more"] = "gone.safetensors"
    (base / INDEX).write_text(json.dumps(index))


DAMAGE = {
    r"holds NaN or infinity in float32": one_number(float("nan")),
    r"holds NaN or infinity in float32 ": one_number(float("-inf")),
    r"model.safetensors' is not complete": lambda base: (base / WHOLE).write_bytes((base / WHOLE).read_bytes()[:-9]),
    r"model.safetensors' is empty": lambda base: (base / WHOLE).write_bytes(b""),
    r"model-00002-of-\d+.safetensors' is missing": without_a_shard,
    r"model-00002-of-\d+.safetensors' is not complete": with_a_torn_shard,
    r"gone.safetensors' is missing": with_an_index_to_elsewhere,
    r"only safetensors are opened": lambda base: (base / WHOLE).rename(base / "pytorch_model.bin"),
}


@pytest.mark.parametrize("said", DAMAGE)
def test_evaluation_and_training_refuse_it_in_one_sentence(base, tmp_path, capsys, said):
    DAMAGE[said](base)
    capsys.readouterr()
    with pytest.raises(SystemExit) as left:
        MllmuHf(pretrained=str(base), device="cpu")
    assert left.value.code == 2
    line = capsys.readouterr().err.strip().splitlines()[-1]
    with pytest.raises(UserError, match=said.strip()) as refused:
        base_model.load_model(
            parse(FinetuneConfig, ["--model_name_or_path", str(base), "--output_dir", str(tmp_path / "o")])
        )
    assert line == f"mllmu: error: {refused.value}"


def test_a_whole_model_in_shards_opens(base, folders):
    in_shards(base)
    assert weights_fingerprint(str(base)) == weights_fingerprint(str(folders()))
    assert MllmuHf(pretrained=str(base), device="cpu").model.dtype == torch.float32


def test_an_adapter_beside_the_weights_is_never_applied_unnamed(base, folders, tmp_path, capsys):
    make_adapter(folders(), base, "lora", record={})
    for more in ({}, {"peft": str(make_prompt_folder(folders(), tmp_path / "prompt", "You know nobody."))}):
        with pytest.raises(SystemExit):
            MllmuHf(pretrained=str(base), device="cpu", **more)
        assert "has an adapter beside its weights" in capsys.readouterr().err
    with pytest.raises(UserError, match="has an adapter beside its weights"):
        refuse_adapter_folder(str(base))


def test_logits_that_are_not_finite_end_the_run(folders, capsys):
    """Finite weights can overflow in the forward pass, as those of some models do in float16."""
    model = MllmuHf(pretrained=str(folders()), device="cpu", batch_size=2)
    with torch.no_grad():
        model.model.model.language_model.norm.weight.fill_(3e38)
    with pytest.raises(SystemExit) as left:
        ask(model, MIXED)
    assert left.value.code == 2
    assert "logits are NaN or infinite" in capsys.readouterr().err
