"""Every family of tests/tiny_models.py is trained on images and text together, saved, and opens elsewhere as it was."""

import math

import pytest
import torch
import yaml
from peft import PeftModel
from safetensors.torch import load_file
from tiny_models import FAMILIES, NEED_IMAGES, save
from transformers import AutoModelForImageTextToText, AutoProcessor

from mllmu_unlearn.config.commands import UnlearnConfig, parse
from mllmu_unlearn.training import run

OURS = ("labels", "keep", "index", "padding", "image_runs")


@pytest.fixture
def logits(monkeypatch):
    """Filled by a run: modality -> (inputs, logits) of the model just before it is saved."""
    seen = {}
    save_folder = run._save

    def remember(trainer, *rest):
        rows = trainer.train_dataset
        for index, sample in enumerate(rows.sides["forget"]):
            if sample.modality not in seen:
                batch = trainer.data_collator.batch([(index, rows.row("forget", index), False)])
                inputs = {name: value for name, value in batch.items() if name not in OURS}
                with torch.no_grad():
                    seen[sample.modality] = inputs, trainer.model.eval()(**inputs).logits
        save_folder(trainer, *rest)

    monkeypatch.setattr(run, "_save", remember)
    return seen


@pytest.mark.parametrize("family", FAMILIES)
def test_trained_saved_and_opened_again(family, texts, data, tmp_path, logits):
    modalities = ("image",) if family in NEED_IMAGES else ("image", "text")
    base, out = save(family, tmp_path / "base", texts, 3.0), tmp_path / "out"
    argv = ["--method", "npo", "--reference", "cached", "--model_name_or_path", str(base), "--data", str(data)]
    argv += ["--output_dir", str(out), "--forget_ratio", "5", "--modalities", ",".join(modalities), "--use_cpu"]
    argv += ["--max_steps", "2", "--learning_rate", "5e-3", "--lora_r", "2", "--lora_target", "language,vision"]
    argv += ["--per_device_train_batch_size", "6", "--train_sampling_strategy", "random", "--disable_tqdm", "true"]
    run.unlearn(parse(UnlearnConfig, argv))
    losses = yaml.safe_load((out / "unlearning.yaml").read_text())["training"]["final_losses"]
    assert all(math.isfinite(value) for value in losses.values())
    stored = load_file(out / "adapter_model.safetensors")
    moved = {name: bool(tensor.any()) for name, tensor in stored.items() if "lora_B" in name}  # zero at the start
    assert all(moves for name, moves in moved.items() if "language_model" in name)
    assert any(moves for name, moves in moved.items() if "language_model" not in name)
    AutoProcessor.from_pretrained(out)
    again = PeftModel.from_pretrained(AutoModelForImageTextToText.from_pretrained(base), out).eval()
    assert set(logits) == set(modalities)
    with torch.no_grad():
        for inputs, before in logits.values():
            assert torch.equal(again(**inputs).logits, before)
            with again.disable_adapter():
                assert not torch.equal(again(**inputs).logits, before)
