"""An adapter on lmms-eval's own backends: in force as PEFT applies it, or the run does not start."""

import shutil

import pytest
import torch
from adapters import CONFIGS, make_adapter, make_prompt_folder, save_adapter
from asking import MIXED, ask
from lmms_eval.models import get_model
from peft import LoraConfig, PeftModel, get_peft_model
from safetensors.torch import load_file, save_file
from transformers import AutoModelForImageTextToText

from mllmu_tasks.harness.peft_backend import MllmuPeft

IDS = torch.tensor([[3, 30, 40, 50, 60, 17]])
BACKENDS = {
    "qwen2_5_vl": ("qwen2_5_vl", {"device_map": "cpu", "min_pixels": 784, "max_pixels": 3136}),
    "llava_hf": ("llava", {"device_map": "cpu", "dtype": "float32"}),
}
ASKED = {"qwen2_5_vl": MIXED, "llava_hf": [doc for doc in MIXED if doc["images"]]}


@pytest.fixture(params=BACKENDS)
def backend(request):
    return request.param


def stock(backend, base):
    return get_model(backend)(pretrained=str(base), device="cpu", batch_size=1, **BACKENDS[backend][1])


def made(backend, pretrained, peft, **more):
    arguments = {
        "backend": backend,
        "pretrained": pretrained,
        "peft": peft,
        **BACKENDS.get(backend, ("", {}))[1],
        **more,
    }
    text = ",".join(f"{key}={value}" for key, value in arguments.items() if value is not None)
    return MllmuPeft.create_from_arg_string(text, {"batch_size": 1, "device": "cpu", "max_batch_size": None})


@torch.inference_mode()
def logits(model):
    return model(input_ids=IDS).logits


def texts(answers):
    return [getattr(answer, "text", answer) for answer in answers]


@pytest.mark.parametrize("kind", CONFIGS)
def test_the_adapter_is_in_force_as_peft_applies_it(folders, tmp_path, backend, kind):
    base = folders(BACKENDS[backend][0])
    adapter = make_adapter(base, tmp_path / kind, kind)
    ours = made(backend, base, adapter)
    assert type(ours) is get_model(backend)  # the backend itself answers
    plain, by_hand = stock(backend, base), stock(backend, base)
    PeftModel.from_pretrained(by_hand._model, str(adapter)).eval()
    assert torch.equal(logits(ours.model), logits(by_hand.model))
    assert not torch.equal(logits(ours.model), logits(plain.model))
    if kind == "lora":
        answers = texts(ask(ours, ASKED[backend]))
        assert answers == texts(ask(by_hand, ASKED[backend]))
        assert answers != texts(ask(plain, ASKED[backend]))


def refusal(capsys, *arguments, **more):
    capsys.readouterr()
    with pytest.raises(SystemExit) as left:
        made(*arguments, **more)
    assert left.value.code == 2
    return capsys.readouterr().err.strip().splitlines()[-1]


def test_what_cannot_be(capsys, folders, adapters, tmp_path):
    base, lora = folders("qwen2_5_vl"), adapters("qwen2_5_vl")
    for arguments, words in (
        (("qwen2_5_vll", base, lora), "lmms-eval has no model 'qwen2_5_vll'. Did you mean 'qwen2_5_vl'?"),
        ((None, base, lora), "mllmu_peft needs backend="),
        (("qwen2_5_vl", base, None), "mllmu_peft needs peft="),
        (("qwen2_5_vl", None, lora), "mllmu_peft needs pretrained="),
        (("mllmu_hf", base, lora), "is ours; use --model mllmu_hf with peft="),
        (("mllmu_peft", base, lora), "is ours; use --model mllmu_hf with peft="),
        (("qwen2_5_vl", base, tmp_path / "none"), f"'{tmp_path / 'none'}' is no folder here"),
        (("qwen2_5_vl", base, base), "is a full model, not an adapter"),
        (("qwen2_5_vl", folders("llava"), lora), "pass the model it was made from as pretrained="),
    ):
        assert words in refusal(capsys, *arguments)


def test_an_adapter_without_effect_on_a_text_is_refused(capsys, folders, tmp_path):
    base = folders("qwen2_5_vl")
    neutral = make_adapter(base, tmp_path / "neutral", "lora", scale=0.0)
    assert f"adapter '{neutral}' changes nothing" in refusal(capsys, "qwen2_5_vl", base, neutral)
    model = AutoModelForImageTextToText.from_pretrained(base)
    model = get_peft_model(model, LoraConfig(r=2, target_modules=r".*visual.*\.qkv"))
    sees = save_adapter(model, tmp_path / "sees")
    assert f"adapter '{sees}' leaves the answers" in refusal(capsys, "qwen2_5_vl", base, sees)


def test_the_guards_are_those_of_mllmu_hf(capsys, folders, adapters, tmp_path):
    base, lora = folders("qwen2_5_vl"), adapters("qwen2_5_vl")
    mine = shutil.copytree(base, tmp_path / "mine")
    for name in ("adapter_config.json", "adapter_model.safetensors"):
        shutil.copy(lora / name, mine / name)
    line = refusal(capsys, "qwen2_5_vl", mine, lora, base="this")
    assert "has an adapter beside its weights" in line
    tensors = load_file(mine / "model.safetensors")
    next(iter(tensors.values())).view(-1)[0] = float("nan")
    save_file(tensors, mine / "model.safetensors", metadata={"format": "pt"})
    (mine / "adapter_config.json").unlink()
    assert "has other weights" in refusal(capsys, "qwen2_5_vl", mine, lora)
    assert "holds NaN or infinity" in refusal(capsys, "qwen2_5_vl", mine, lora, base="this")


def test_a_system_prompt_is_no_business_of_a_backend(capsys, folders, tmp_path):
    base = folders("qwen2_5_vl")
    prompt = make_prompt_folder(base, tmp_path / "prompt", "You know nobody.")
    assert "is a system prompt" in refusal(capsys, "qwen2_5_vl", base, prompt)


def test_a_backend_that_does_not_start_says_why(capsys, folders, adapters):
    line = refusal(capsys, "qwen2_5_vl", folders("qwen2_5_vl"), adapters("qwen2_5_vl"), color="red")
    assert "backend=qwen2_5_vl does not start: AssertionError: Unexpected kwargs" in line


def test_a_backend_without_a_pytorch_model(capsys, folders, adapters):
    line = refusal(capsys, "from_log", folders("qwen2_5_vl"), adapters("qwen2_5_vl"), logs="nowhere")
    assert "from_log" in line
    line = refusal(capsys, "dummy", folders("qwen2_5_vl"), adapters("qwen2_5_vl"))
    assert "mllmu export" in line
    assert "--merge" in line
