"""The cheap identity of weights: equal for equal weights, different after small edits."""

import json

import pytest
import torch
from safetensors.torch import load_file, save_file

from mllmu_tasks.artifacts.identity import local_folder, weights_fingerprint
from mllmu_tasks.artifacts.weight_files import INDEX, WHOLE
from mllmu_tasks.errors import UserError


@pytest.fixture
def model(tmp_path):
    draw = torch.Generator().manual_seed(0)
    tensors = {
        "a": torch.randn(64, 32, generator=draw),
        "b": torch.randn(5, generator=draw),
        "c": torch.tensor(1.5),
        "d": torch.zeros(0, 3),
    }
    save_file(tensors, tmp_path / WHOLE)
    return tmp_path


def rewrite(model, change):
    tensors = load_file(model / WHOLE)
    change(tensors)
    save_file(tensors, model / WHOLE)


def test_sharded_or_whole_is_the_same_model(model, tmp_path):
    whole = weights_fingerprint(str(model))
    shards = tmp_path / "shards"
    shards.mkdir()
    tensors = load_file(model / WHOLE)
    save_file({name: tensors[name] for name in "ab"}, shards / "one.safetensors")
    save_file({name: tensors[name] for name in "cd"}, shards / "two.safetensors")
    weight_map = {"a": "one.safetensors", "b": "one.safetensors", "c": "two.safetensors", "d": "two.safetensors"}
    (shards / INDEX).write_text(json.dumps({"weight_map": weight_map}))
    assert weights_fingerprint(str(shards)) == whole
    assert len(whole) == 32


@pytest.mark.parametrize(
    "change",
    [
        lambda t: t["a"][20:24].zero_(),  # a few neurons
        lambda t: t["c"].add_(1),
        lambda t: t.update(a=t["a"].half()),
        lambda t: t.update(a=t["a"].reshape(32, 64)),
        lambda t: t.update(e=t.pop("b")),
    ],
)
def test_another_model_differs(model, change):
    before = weights_fingerprint(str(model))
    rewrite(model, change)
    assert weights_fingerprint(str(model)) != before


def test_no_safetensors(tmp_path):
    (tmp_path / "pytorch_model.bin").write_bytes(b"pickle")
    with pytest.raises(UserError, match="only safetensors are opened"):
        weights_fingerprint(str(tmp_path))


def test_a_shard_that_is_not_there(tmp_path):
    (tmp_path / INDEX).write_text(json.dumps({"weight_map": {"a": "gone.safetensors"}}))
    with pytest.raises(UserError, match="is not complete"):
        weights_fingerprint(str(tmp_path))


@pytest.mark.parametrize("content", [b"", b"12", b"\x05\0\0\0\0\0\0\0nojso"])
def test_a_broken_file(tmp_path, content):
    (tmp_path / WHOLE).write_bytes(content)
    with pytest.raises(UserError, match="no complete safetensors"):
        weights_fingerprint(str(tmp_path))


def test_a_file_that_ends_early(model):
    (model / WHOLE).write_bytes((model / WHOLE).read_bytes()[:-4000])
    with pytest.raises(UserError, match="no complete safetensors"):
        weights_fingerprint(str(model))


def test_a_model_that_is_nowhere():
    with pytest.raises(UserError, match="no folder here and cannot be had from the hub"):
        local_folder("nobody/nothing-of-this-name")
