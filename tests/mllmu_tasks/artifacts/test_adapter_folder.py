"""An adapter is in force exactly as PEFT applies it, or the run does not start."""

import json
import shutil

import pytest
import torch
import yaml
from adapters import CONFIGS, make_adapter, make_prompt_folder
from asking import MIXED, ask
from peft import PeftModel
from safetensors.torch import load_file, save_file
from transformers import AutoModelForImageTextToText

from mllmu_tasks.artifacts.adapter_folder import WEIGHTS, attach, check_base, read_adapter
from mllmu_tasks.errors import UserError
from mllmu_tasks.harness.hf import MllmuHf

IDS = torch.tensor([[1, 30, 40, 50, 60]])


def load(base):
    return AutoModelForImageTextToText.from_pretrained(base).eval()


@pytest.fixture
def lora(folders, tmp_path):
    return make_adapter(folders(), tmp_path / "lora", "lora")


def change_weights(folder, change):
    tensors = load_file(folder / WEIGHTS)
    change(tensors)
    save_file(tensors, folder / WEIGHTS)


@pytest.mark.parametrize("kind", CONFIGS)
def test_it_gives_the_logits_that_peft_gives(folders, tmp_path, kind):
    base = folders()
    folder = read_adapter(make_adapter(base, tmp_path / kind, kind))
    assert folder.kind == kind
    plain = load(base)(input_ids=IDS).logits
    ours = attach(load(base), folder, str(base))(input_ids=IDS).logits
    theirs = PeftModel.from_pretrained(load(base), folder.path).eval()(input_ids=IDS).logits
    assert torch.equal(ours, theirs)
    assert (ours - plain).abs().max() > 0.1


@pytest.mark.parametrize("kind", CONFIGS)
def test_answers_change_with_it_and_batches_agree(folders, tmp_path, kind):
    base = folders()
    folder = make_adapter(base, tmp_path / kind, kind)
    before = ask(MllmuHf(pretrained=str(base), device="cpu", batch_size=8), MIXED)
    alone = ask(MllmuHf(pretrained=str(base), peft=str(folder), device="cpu"), MIXED)
    assert alone != before
    assert ask(MllmuHf(pretrained=str(base), peft=str(folder), device="cpu", batch_size=8), MIXED) == alone


@pytest.mark.parametrize("kind", CONFIGS)
def test_an_adapter_that_changes_nothing_is_refused(folders, tmp_path, kind):
    folder = make_adapter(folders(), tmp_path / kind, kind, scale=0.0)
    with pytest.raises(UserError, match=rf"changes nothing \(all its {kind} weights are neutral\)"):
        read_adapter(folder)


def change_config(folder, **changes):
    config = json.loads((folder / "adapter_config.json").read_text()) | changes
    (folder / "adapter_config.json").write_text(json.dumps(config))


def test_alpha_decides_whether_lora_works(lora):
    change_config(lora, lora_alpha=0)
    with pytest.raises(UserError, match=r"changes nothing .*lora_alpha is 0"):
        read_adapter(lora)
    change_config(lora, alpha_pattern={"q_proj": 8})
    assert read_adapter(lora).kind == "lora"
    change_config(lora, lora_alpha=float("nan"))
    with pytest.raises(UserError, match=r"NaN or infinity \(lora_alpha\)"):
        read_adapter(lora)


@pytest.mark.parametrize("factor", ["lora_A", "lora_B"])
def test_lora_works_in_pairs(lora, factor):
    change_weights(lora, lambda tensors: [t.zero_() for name, t in tensors.items() if factor in name])
    with pytest.raises(UserError, match="changes nothing"):
        read_adapter(lora)


@pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf")])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
def test_weights_that_are_not_finite_are_refused(lora, value, dtype):
    def change(tensors):
        tensors.update({name: tensor.to(dtype) for name, tensor in tensors.items()})
        tensors[sorted(tensors)[-1]].view(-1)[-1] = value

    change_weights(lora, change)
    with pytest.raises(UserError, match="holds NaN or infinity"):
        read_adapter(lora)


def test_training_again_changes_the_content_hash(folders, lora):
    first = read_adapter(lora).content_hash
    change_weights(lora, lambda tensors: next(iter(tensors.values())).mul_(2))
    assert read_adapter(lora).content_hash != first


def test_other_weights_under_the_same_name_are_another_base(folders, tmp_path, lora):
    other = shutil.copytree(folders(), tmp_path / "elsewhere" / folders().name)
    check_base(read_adapter(lora), str(other))
    tensors = load_file(other / "model.safetensors")
    next(iter(tensors.values())).view(-1)[3] += 1
    save_file(tensors, other / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(UserError) as refused:
        check_base(read_adapter(lora), str(other))
    assert str(folders()) in str(refused.value)
    assert str(other) in str(refused.value)


@pytest.mark.parametrize("name", ["adapter_config.json", "adapter_model.safetensors"])
def test_a_missing_file_is_named(lora, name):
    (lora / name).unlink()
    with pytest.raises(UserError, match=f"lacks {name}; only safetensors are opened"):
        read_adapter(lora)


def test_a_pickle_is_named_and_never_opened(lora):
    (lora / WEIGHTS).unlink()
    (lora / "adapter_model.bin").write_bytes(b"never opened")
    with pytest.raises(UserError, match=r"lacks adapter_model.safetensors; adapter_model.bin is a pickle"):
        read_adapter(lora)


def test_no_such_folder(tmp_path):
    with pytest.raises(UserError, match="is no folder here"):
        read_adapter(tmp_path / "none")


def test_a_tensor_without_a_place_is_an_error(folders, lora):
    change_weights(lora, lambda t: t.update({"base_model.model.model.nowhere.lora_A.weight": torch.ones(4, 8)}))
    with pytest.raises(UserError, match="no partner"):
        attach(load(folders()), read_adapter(lora), str(folders()))


def test_a_tensor_that_the_file_lacks_is_an_error(folders, lora):
    change_weights(lora, lambda tensors: tensors.pop(sorted(tensors)[0]))
    with pytest.raises(UserError, match=r"1 tensors have no partner .* is not in its file"):
        attach(load(folders()), read_adapter(lora), str(folders()))


def test_a_wrong_shape_is_an_error(folders, lora):
    change_weights(lora, lambda t: t.update({sorted(t)[0]: torch.ones(3, 3)}))
    with pytest.raises(UserError, match="does not fit"):
        attach(load(folders()), read_adapter(lora), str(folders()))


def test_values_that_did_not_arrive_are_an_error(folders, lora, monkeypatch):
    original = PeftModel.from_pretrained

    def forgetful(*args, **kwargs):
        model = original(*args, **kwargs)
        with torch.no_grad():
            next(p for name, p in model.named_parameters() if "lora_B" in name).zero_()
        return model

    monkeypatch.setattr(PeftModel, "from_pretrained", forgetful)
    with pytest.raises(UserError, match=r"values of .* differ"):
        attach(load(folders()), read_adapter(lora), str(folders()))


def test_a_torn_file_is_an_error(lora):
    (lora / WEIGHTS).write_bytes((lora / WEIGHTS).read_bytes()[:-100])
    with pytest.raises(UserError, match=r"adapter_model.safetensors' is not complete \([\d,]+ bytes"):
        read_adapter(lora)


@pytest.mark.parametrize(
    ("content", "message"),
    [(b"{", "is no JSON"), (b"[1]", "holds no mapping"), (b"[" * 100_000, "nested too deeply"), (b"\xff", "UTF-8")],
)
def test_a_configuration_that_is_none(lora, content, message):
    (lora / "adapter_config.json").write_bytes(content)
    with pytest.raises(UserError, match=message):
        read_adapter(lora)


@pytest.mark.parametrize("changes", [{"r": "x"}, {"target_modules": 5}, {"r": -1}, {"lora_alpha": "a lot"}])
def test_a_configuration_that_peft_does_not_take(folders, lora, changes):
    change_config(lora, **changes)
    with pytest.raises(UserError, match="does not fit"):
        attach(load(folders()), read_adapter(lora), str(folders()))


def test_an_adapter_for_modules_that_are_not_there(folders, lora):
    config = json.loads((lora / "adapter_config.json").read_text())
    config["target_modules"] = r".*no_such_module"
    (lora / "adapter_config.json").write_text(json.dumps(config))
    with pytest.raises(UserError, match="does not fit"):
        attach(load(folders()), read_adapter(lora), str(folders()))


def test_a_full_model_belongs_to_pretrained(folders, tmp_path):
    with pytest.raises(UserError, match="pass it as pretrained="):
        read_adapter(folders())
    (tmp_path / "unlearning.yaml").write_text("kind: full")
    with pytest.raises(UserError, match="pass it as pretrained="):
        read_adapter(tmp_path)


@pytest.mark.parametrize(
    ("record", "message"),
    [
        ("kind: banana", "known: lora"),
        ("- a list", "holds no mapping"),
        ("a: [", "is no valid YAML"),
        ("kind: ia3", "says lora"),
    ],
)
def test_a_record_that_contradicts(lora, record, message):
    (lora / "unlearning.yaml").write_text(record)
    with pytest.raises(UserError, match=message):
        read_adapter(lora)


def test_other_kinds_of_peft_are_refused(lora):
    config = json.loads((lora / "adapter_config.json").read_text()) | {"peft_type": "PROMPT_TUNING"}
    (lora / "adapter_config.json").write_text(json.dumps(config))
    (lora / "unlearning.yaml").unlink()
    with pytest.raises(UserError, match="PEFT type 'prompt_tuning'"):
        read_adapter(lora)


def test_a_prompt_folder_is_a_system_prompt(folders, tmp_path):
    base = str(folders())
    folder = make_prompt_folder(folders(), tmp_path / "prompt", "You know nobody, not even Ada Berg.")
    kept = MllmuHf(pretrained=base, peft=str(folder), device="cpu", batch_size=4)
    assert kept.system_prompt == "You know nobody, not even Ada Berg."
    given = MllmuHf(pretrained=base, system_prompt=kept.system_prompt, device="cpu", batch_size=4)
    answers = ask(kept, MIXED)
    assert answers == ask(given, MIXED)
    assert answers != ask(MllmuHf(pretrained=base, device="cpu", batch_size=4), MIXED)


def test_a_prompt_folder_without_a_prompt(tmp_path):
    (tmp_path / "unlearning.yaml").write_text(yaml.safe_dump({"kind": "prompt", "system_prompt": None}))
    with pytest.raises(UserError, match="holds no system_prompt"):
        read_adapter(tmp_path)
