"""What an export opens as: the model with the adapter, to the last logit."""

import errno
import resource
import shutil

import pytest
import tiny_models
import torch
import yaml
from adapters import CONFIGS, make_adapter
from peft import PeftModel
from safetensors.torch import load_file, save_file
from transformers import AutoModelForImageTextToText, AutoProcessor

from mllmu_tasks.artifacts.identity import weights_fingerprint
from mllmu_tasks.errors import UserError
from mllmu_tasks.harness.hf import MllmuHf
from mllmu_unlearn.output.export import link, merge

WEIGHTS = "adapter_model.safetensors"
GONE = {"name_or_path": "/gone/since"}
IDS = torch.tensor([[3, 30, 40, 50, 60, 17]])
RECORD = {
    "format": 1,
    "method": "npo",
    "about": {"title": "NPO", "formula": "-log sigmoid", "paper": "a paper"},
    "protocol": "paper",
    "hyper_parameters": {"beta": 0.4},
    "data": {"source": "mini", "hash": "0" * 64, "pairs": {"forget": 3}},
    "forget": {"ids": ["009"]},
    "retain": {"people": 51},
    "modalities": ["image"],
    "seed": 0,
    "versions": {},
    "training": {},
    "system_prompt": None,
}


@pytest.fixture(scope="module", params=["llava", "qwen2_5_vl"])
def base(request, tmp_path_factory):
    return tiny_models.save(request.param, tmp_path_factory.mktemp("base") / request.param)


@pytest.fixture(params=CONFIGS)
def adapter(request, base, tmp_path):
    return written(base, tmp_path / f"{request.param}-adapter", request.param)


def written(base, folder, kind):
    """An adapter folder with the record that `mllmu unlearn` writes."""
    made_from = {"name_or_path": str(base), "revision": None, "fingerprint": weights_fingerprint(str(base))}
    make_adapter(base, folder, kind, record={**RECORD, "kind": kind, "base_model": made_from})
    AutoProcessor.from_pretrained(base).save_pretrained(folder)
    return folder


def logits(folder, dtype="auto"):
    with torch.inference_mode():
        return AutoModelForImageTextToText.from_pretrained(folder, dtype=dtype).eval()(input_ids=IDS).logits


def expected(base, adapter, dtype="auto", **options):
    model = AutoModelForImageTextToText.from_pretrained(base, dtype=dtype)
    with torch.inference_mode():
        return PeftModel.from_pretrained(model, str(adapter), **options).eval()(input_ids=IDS).logits


def test_merged_weights_give_the_adapters_logits(base, adapter, tmp_path):
    out = merge(adapter, tmp_path / "out")
    assert torch.allclose(logits(out), expected(base, adapter), atol=1e-3, rtol=1e-3)
    assert not torch.allclose(logits(base), expected(base, adapter), atol=1e-2)
    assert not (out / "adapter_config.json").exists()
    assert yaml.safe_load((out / "unlearning.yaml").read_text())["kind"] == "full"


def test_a_disk_that_takes_no_more_is_one_sentence_and_leaves_nothing(tmp_path):
    base = tiny_models.save("llava", tmp_path / "base")
    adapter = written(base, tmp_path / "adapter", "lora")
    before = sorted(tmp_path.iterdir())
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, hard))
    try:
        with pytest.raises(UserError, match=r"cannot be written .*; see that the disk has room"):
            merge(adapter, tmp_path / "out")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert sorted(tmp_path.iterdir()) == before


def test_linked_weights_give_the_adapters_logits(base, adapter, tmp_path):
    if "shira" in adapter.name:
        with pytest.raises(UserError, match="use --merge"):
            link(adapter, tmp_path / "out")
        return
    out = link(adapter, tmp_path / "out")
    assert torch.equal(logits(out), expected(base, adapter))
    assert (out / "model.safetensors").is_symlink()
    AutoProcessor.from_pretrained(out)
    ours = MllmuHf(pretrained=str(out), device="cpu")
    with torch.inference_mode():
        assert torch.equal(ours.model(input_ids=IDS).logits, expected(base, adapter))


def test_in_half_precision_transformers_computes_the_adapter_in_half_precision_too(base, tmp_path):
    """PEFT, and so mllmu_hf, keeps the adapter in float32: the only difference, and docs/backends.md says it."""
    adapter = written(base, tmp_path / "adapter", "lora")
    half = torch.bfloat16
    linked = logits(link(adapter, tmp_path / "out"), half)
    assert torch.equal(linked, expected(base, adapter, half, autocast_adapter_dtype=False))
    apart = (linked - expected(base, adapter, half)).abs().max()
    assert apart < 0.1 * (linked - logits(base, half)).abs().max()


def test_a_linked_model_is_another_model(base, tmp_path):
    adapter = written(base, tmp_path / "adapter", "lora")
    out = link(adapter, tmp_path / "out")
    first = weights_fingerprint(str(out))
    assert first != weights_fingerprint(str(base))
    change(adapter, lambda tensors: next(iter(tensors.values())).mul_(2))
    assert weights_fingerprint(str(link(adapter, out))) != first  # trained again, linked again


@pytest.mark.parametrize("way", [merge, link])
def test_what_cannot_be_exported(base, tmp_path, way):
    with pytest.raises(UserError, match="is no folder here"):
        way(tmp_path / "absent", tmp_path / "out")
    adapter = written(base, tmp_path / "adapter", "lora")
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "thesis.txt").write_text("mine")
    with pytest.raises(UserError, match="not written by mllmu"):
        way(adapter, tmp_path / "full")
    record = yaml.safe_load((adapter / "unlearning.yaml").read_text())
    other = {**record, "base_model": {**record["base_model"], "fingerprint": "0" * 32}}
    (adapter / "unlearning.yaml").write_text(yaml.safe_dump(other))
    with pytest.raises(UserError, match="has other weights"):
        way(adapter, tmp_path / "out")
    (adapter / "unlearning.yaml").unlink()
    with pytest.raises(UserError, match="name the model with --base"):
        way(adapter, tmp_path / "out")
    with pytest.raises(UserError, match="is no folder here" if way is merge else "use --merge"):
        way(adapter, tmp_path / "out", str(tmp_path / "absent"))
    assert not (tmp_path / "out").exists()


def change(adapter, how):
    tensors = load_file(adapter / WEIGHTS)
    how(tensors)
    save_file(tensors, adapter / WEIGHTS)


DAMAGE = {
    "did not load": lambda adapter: change(adapter, lambda tensors: tensors.pop(sorted(tensors)[0])),
    "NaN or infinity": lambda adapter: change(adapter, lambda t: t[sorted(t)[-1]].view(-1)[0].fill_(float("inf"))),
    "changes nothing": lambda adapter: change(adapter, lambda t: [tensor.zero_() for tensor in t.values()]),
    "is not complete": lambda adapter: (adapter / WEIGHTS).write_bytes((adapter / WEIGHTS).read_bytes()[:-9]),
    "is empty": lambda adapter: (adapter / WEIGHTS).write_bytes(b""),
    "is a pickle": lambda adapter: (adapter / WEIGHTS).rename(adapter / "adapter_model.bin"),
}


@pytest.mark.parametrize("said", DAMAGE)
def test_a_damaged_adapter_is_not_exported(base, tmp_path, said):
    adapter = written(base, tmp_path / "adapter", "lora")
    DAMAGE[said](adapter)
    for way in (merge, link) if said != "did not load" else (merge,):
        with pytest.raises(UserError, match=said):
            way(adapter, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_base_that_is_named_by_hand(base, tmp_path):
    """Moved since, or of an adapter that mllmu did not write; other weights need a word more."""
    adapter = written(base, tmp_path / "adapter", "lora")
    moved = shutil.copytree(base, tmp_path / "moved")
    wanted = expected(base, adapter)
    record = yaml.safe_load((adapter / "unlearning.yaml").read_text())
    (adapter / "unlearning.yaml").write_text(yaml.safe_dump(record | {"base_model": {**record["base_model"], **GONE}}))
    with pytest.raises(UserError, match="is no folder here"):
        merge(adapter, tmp_path / "merged")
    assert torch.allclose(logits(merge(adapter, tmp_path / "merged", str(moved))), wanted, atol=1e-3, rtol=1e-3)
    assert torch.equal(logits(link(adapter, tmp_path / "linked", str(moved))), wanted)
    (adapter / "unlearning.yaml").unlink()
    foreign = merge(adapter, tmp_path / "foreign", str(moved))
    assert torch.allclose(logits(foreign), wanted, atol=1e-3, rtol=1e-3)
    assert AutoProcessor.from_pretrained(foreign)
    with pytest.raises(UserError, match="use --merge"):
        link(adapter, tmp_path / "other", str(moved))


def test_other_weights_are_a_base_if_the_caller_says_so(base, tmp_path):
    adapter = written(base, tmp_path / "adapter", "lora")
    other = shutil.copytree(base, tmp_path / "other")
    tensors = load_file(other / "model.safetensors")
    tensors[sorted(tensors)[0]].view(-1)[3] += 1
    save_file(tensors, other / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(UserError, match="has other weights"):
        merge(adapter, tmp_path / "out", str(other))
    assert merge(adapter, tmp_path / "out", str(other), declared=True) == tmp_path / "out"


def test_a_base_with_an_adapter_beside_it_is_not_linked(base, tmp_path):
    adapter = written(base, tmp_path / "adapter", "lora")
    linked = link(adapter, tmp_path / "linked")
    with pytest.raises(UserError, match="has an adapter beside its weights"):
        link(adapter, tmp_path / "twice", str(linked), declared=True)


def test_a_linked_folder_has_the_guards_of_an_adapter(base, tmp_path, capsys):
    linked = link(written(base, tmp_path / "adapter", "lora"), tmp_path / "linked")
    change(linked, lambda tensors: next(iter(tensors.values())).fill_(float("nan")))
    with pytest.raises(SystemExit):
        MllmuHf(pretrained=str(linked), device="cpu")
    assert "holds NaN or infinity" in capsys.readouterr().err


def test_a_full_disk_is_one_sentence(base, tmp_path, monkeypatch):
    adapter = written(base, tmp_path / "adapter", "lora")

    def full(*_, **__):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("mllmu_unlearn.output.export.shutil.copyfile", full)
    with pytest.raises(UserError, match=r"cannot be written .No space left on device.; see that the disk has room"):
        link(adapter, tmp_path / "out")
    assert not (tmp_path / "out").exists()
