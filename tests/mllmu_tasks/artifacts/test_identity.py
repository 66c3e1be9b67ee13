"""The cheap identity of weights: equal for equal weights, different after small edits."""

import hashlib
import json
import os

import pytest
import torch
from safetensors.torch import load_file, save_file

from mllmu_tasks.artifacts import identity
from mllmu_tasks.artifacts.identity import (
    digest,
    file_hash,
    files_hash,
    local_folder,
    short_hash,
    text_hash,
    weights_fingerprint,
)
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


def test_hashes_that_stand_in_records_keep_their_values(tmp_path):
    config, weights = tmp_path / "adapter_config.json", tmp_path / "adapter_model.safetensors"
    config.write_bytes(b"{}")
    weights.write_bytes(b"abc")
    assert text_hash("abc") == file_hash(weights) == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
    assert digest(["a", b"bc"]) == "9a8acca1b6c6c0befd3fbc756aed625da998c998f7252e738c4ef061906b9b21"
    assert short_hash("abc") == digest(["abc"])[:16]
    assert short_hash("") == ""
    parts = b"adapter_config.json" + hashlib.sha256(b"{}").digest()
    parts += b"adapter_model.safetensors" + hashlib.sha256(b"abc").digest()
    assert files_hash([config, weights]) == hashlib.sha256(parts).hexdigest()


def test_a_file_is_read_again_when_its_bytes_change_at_once_and_in_length_not(tmp_path):
    file = tmp_path / "rows"
    hashes = []
    for content in (b"one", b"two", b"six"):
        file.write_bytes(content)
        hashes.append(file_hash(file))
    assert hashes == [hashlib.sha256(content).hexdigest() for content in (b"one", b"two", b"six")]


def test_a_settled_file_is_read_once_and_again_after_a_change(tmp_path, monkeypatch):
    monkeypatch.setattr(identity, "SETTLED_NS", 0)
    file = tmp_path / "rows"
    file.write_bytes(b"one")
    assert file_hash(file) == file_hash(file) == hashlib.sha256(b"one").hexdigest()
    os.utime(file, ns=(1, 1))
    file.write_bytes(b"four")
    assert file_hash(file) == hashlib.sha256(b"four").hexdigest()


def test_the_hubs_name_of_a_blob_is_its_hash(tmp_path):
    blob = tmp_path / ("0" * 64)
    blob.write_bytes(b"abc")
    link = tmp_path / "train.parquet"
    link.symlink_to(blob)
    assert file_hash(link) == "0" * 64
