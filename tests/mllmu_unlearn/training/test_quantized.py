"""QLoRA on the CPU backend of bitsandbytes: the tiny model in 4 bits, an ordinary adapter as the result."""

import pytest
import torch
from peft import PeftModel
from safetensors.torch import load_file
from transformers import AutoModelForImageTextToText

from mllmu_tasks.benchmarks.mini import checkpoint
from mllmu_tasks.errors import UserError
from mllmu_unlearn.config import options
from mllmu_unlearn.config.commands import FinetuneConfig, UnlearnConfig, parse
from mllmu_unlearn.training import base_model, quantized, run

BASE = ["--method", "npo", "--forget_ratio", "5", "--load_in_4bit"]


def test_an_adapter_is_trained_on_four_bits(tmp_path):
    """On the mini model: the CPU kernels take no layers narrower than a block of 64."""
    vanilla = checkpoint("vanilla")
    where = ["--model_name_or_path", str(vanilla), "--data", "mini", "--output_dir", str(tmp_path / "out")]
    more = ["--use_cpu", "--disable_tqdm", "true", "--max_steps", "2", "--dtype", "float32", "--modalities", "text"]
    config = parse(UnlearnConfig, [*where, *more, *BASE, "--learning_rate", "5e-3"])
    linear = base_model.load_model(config).model.language_model.layers[0].mlp.up_proj
    assert type(linear).__name__ == "Linear4bit"
    assert (linear.weight.dtype, linear.weight.quant_type) == (torch.uint8, "nf4")
    out = run.unlearn(config)
    tensors = load_file(out / "adapter_model.safetensors")
    assert {tensor.dtype for tensor in tensors.values()} == {torch.float32}
    assert any(tensor.abs().sum() > 0 for name, tensor in tensors.items() if "lora_B" in name)
    base = AutoModelForImageTextToText.from_pretrained(vanilla)
    PeftModel.from_pretrained(base, str(out))  # an ordinary adapter, for the base as it is
    assert "load_in_4bit: nf4" in (out / "unlearning.yaml").read_text()


def test_the_flags_reach_bitsandbytes():
    plain = ["--model_name_or_path", "m", "--output_dir", "o"]
    more = ["--bnb_4bit_quant_type", "fp4", "--use_bnb_nested_quant", "--dtype", "bfloat16"]
    settings = quantized.settings(parse(UnlearnConfig, [*plain, *BASE, *more]))
    assert (settings.load_in_4bit, settings.bnb_4bit_quant_type) == (True, "fp4")
    assert settings.bnb_4bit_use_double_quant
    assert settings.bnb_4bit_compute_dtype is torch.bfloat16
    assert quantized.settings(parse(UnlearnConfig, [*plain, *BASE[:4]])) is None


def test_a_dry_run_counts_four_bits(tiny):
    model, _ = tiny
    linear = sum(
        m.weight.numel() for n, m in model.named_modules() if isinstance(m, torch.nn.Linear) and "head" not in n
    )
    assert quantized.bytes_of(model) == linear * 0.5625 + 4 * (model.num_parameters() - linear)
    assert quantized.bytes_of(model) < 4 * model.num_parameters()


def test_what_cannot_work_is_said(monkeypatch):
    plain = ["--model_name_or_path", "m", "--output_dir", "o"]
    with pytest.raises(UserError, match="LoRA only"):
        parse(FinetuneConfig, [*plain, "--load_in_4bit"])
    with pytest.raises(UserError, match="nf4"):
        parse(UnlearnConfig, [*plain, *BASE, "--bnb_4bit_quant_type", "int4"])
    monkeypatch.setattr(options, "find_spec", lambda package: None)
    with pytest.raises(UserError, match=r"pip install 'mllmu\[quantized\]'"):
        parse(UnlearnConfig, [*plain, *BASE])
