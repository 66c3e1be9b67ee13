"""Files of weights that are none: one sentence says why, whoever opens them."""

import json
import os

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from mllmu_tasks.artifacts.weight_files import (
    INDEX,
    WHOLE,
    first_not_finite,
    is_finite,
    require_finite_model,
    require_safetensors,
    require_whole_model,
)
from mllmu_tasks.errors import UserError


@pytest.fixture
def file(tmp_path):
    save_file({"a": torch.ones(4, 4), "b": torch.arange(3)}, tmp_path / WHOLE)
    return tmp_path / WHOLE


def test_a_whole_file_and_a_link_to_one_pass(file, tmp_path):
    require_safetensors(file)
    (tmp_path / "link.safetensors").symlink_to(file)
    require_safetensors(tmp_path / "link.safetensors")
    require_whole_model(tmp_path, "m")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "is empty"),
        (b"12", "is no safetensors file"),
        (b"\x05\0\0\0\0\0\0\0nojso", "is no safetensors file"),
        (b"root:x:0:0:root:/root:/bin/bash\n" * 9, "is no safetensors file"),
        (b"PK\x03\x04" + b"0" * 99, "is a pickle of PyTorch"),
        (b"\x80\x02}q" + b"0" * 99, "is a pickle under"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 9\n", "git lfs pull"),
    ],
)
def test_a_foreign_file(file, content, message):
    file.write_bytes(content)
    with pytest.raises(UserError, match=message):
        require_safetensors(file)


@pytest.mark.parametrize("change", [lambda content: content[:-5], lambda content: content + b"more"])
def test_a_file_of_another_length(file, change):
    file.write_bytes(change(file.read_bytes()))
    with pytest.raises(UserError, match="is not complete"):
        require_safetensors(file)


def test_what_is_no_file(file, tmp_path):
    file.unlink()
    with pytest.raises(UserError, match="is missing"):
        require_safetensors(file)
    file.symlink_to("/etc/passwd")
    with pytest.raises(UserError, match="is no safetensors file"):
        require_safetensors(file)
    file.unlink()
    file.symlink_to(tmp_path / "gone")
    with pytest.raises(UserError, match=r"is a link to .*gone', which is not there"):
        require_safetensors(file)
    file.unlink()
    file.mkdir()
    with pytest.raises(UserError, match="is a folder"):
        require_safetensors(file)
    file.rmdir()
    os.mkfifo(file)
    with pytest.raises(UserError, match="is no regular file"):
        require_safetensors(file)


@pytest.mark.parametrize(
    ("index", "message"),
    [
        ({"weight_map": {"a": "gone.safetensors"}}, "gone.safetensors' is missing"),
        ({"weight_map": {"a": "../other.safetensors"}}, "lies elsewhere"),
        ({"weight_map": {"a": 5}}, "lies elsewhere"),
        ({"weight_map": {}}, "names no files"),
        ({"weight_map": []}, "is no index of shards"),
        ([], "is no index of shards"),
    ],
)
def test_an_index_that_leads_nowhere(tmp_path, index, message):
    (tmp_path / INDEX).write_text(json.dumps(index))
    with pytest.raises(UserError, match=message):
        require_whole_model(tmp_path, "m")


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16, torch.float8_e4m3fn])
def test_finite_is_what_every_number_is(dtype):
    fine = torch.ones(3, 3).to(dtype)
    assert is_finite(fine)
    bad = torch.ones(3, 3)
    bad[1, 1] = float("nan")
    assert not is_finite(bad.to(dtype))
    assert is_finite(torch.zeros(0, dtype=dtype))
    assert is_finite(torch.tensor([True]))


def test_the_tensor_that_is_not_finite_is_named(tmp_path):
    save_file({"a": torch.ones(2), "b": torch.tensor([1.0, float("-inf")])}, tmp_path / WHOLE)
    assert first_not_finite(tmp_path / WHOLE) == "b"


def test_a_type_that_is_too_narrow_for_the_weights():
    model = nn.Linear(2, 2)
    nn.init.constant_(model.weight, 1e6)
    require_finite_model(model, "m")
    with pytest.raises(UserError, match=r"model 'm' holds NaN or infinity in float16 \(weight\)"):
        require_finite_model(model.half(), "m")
