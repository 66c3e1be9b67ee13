"""No step waits for the device: nothing in it turns a tensor into a number, or makes a shape depend on values."""

import json
from dataclasses import fields

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from mllmu_tasks.data.source import open_source
from mllmu_unlearn import methods
from mllmu_unlearn.config.commands import UnlearnConfig, parse
from mllmu_unlearn.training import image_features, plan, run
from mllmu_unlearn.training.trainer import MethodTrainer

WAITS = {"_local_scalar_dense", "nonzero", "masked_select", "is_nonzero", "equal", "_unique2", "unique_dim"}
"""Operations whose result reaches the processor, or whose output has a shape that only the device knows."""


class NoWaiting(TorchDispatchMode):
    """Raises AssertionError where a CUDA tensor would make the processor wait."""

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        name = function.overloadpacket.__name__
        assert name not in WAITS, f"{name} waits for the device"
        if name in ("index", "index_put", "index_put_"):
            masks = [i for i in args[1] if i is not None and i.dtype in (torch.bool, torch.uint8)]
            assert not masks, f"{name} by a mask waits for the device"
        return function(*args, **(kwargs or {}))


def test_the_guard_sees_what_it_should():
    tensor = torch.arange(3)
    for waits in (
        lambda: tensor[0].item(),
        lambda: bool(tensor[0]),
        lambda: int(tensor.sum()),
        lambda: f"{tensor.sum()}",
        lambda: tensor[tensor > 1],
        lambda: tensor.masked_select(tensor > 1),
        lambda: tensor.nonzero(),
        lambda: torch.equal(tensor, tensor),
    ):
        with pytest.raises(AssertionError, match="waits for the device"), NoWaiting():
            waits()
    with NoWaiting():
        assert tensor[torch.tensor([0, 2])].sum().shape == ()


@pytest.fixture
def guarded(monkeypatch):
    """Every training step of a run is guarded; the number of them."""
    steps = []
    step = MethodTrainer.training_step

    def training_step(self, *args, **kwargs):
        steps.append(1)
        with NoWaiting():
            return step(self, *args, **kwargs)

    monkeypatch.setattr(MethodTrainer, "training_step", training_step)
    return steps


TRAINED = [name for name in methods.names() if methods.get(name).trains and methods.get(name).kind == "lora"]
READY = [n for n in TRAINED if n == "altpo" or all(f.default is not None for f in fields(methods.get(n)))]
"""Methods that start without a flag of their own."""


@pytest.mark.parametrize("name", READY)
def test_no_step_of_a_method_waits(guarded, checkpoint, data, tmp_path, name):
    """On a LLaVA whose vision tower is frozen; elsewhere Transformers' own models look at their tensors."""
    where = ["--model_name_or_path", str(checkpoint), "--data", str(data), "--output_dir", str(tmp_path / "out")]
    flags = [*where, "--use_cpu", "--forget_ratio", "5", "--lora_r", "2", "--max_steps", "3", "--save_strategy", "no"]
    flags += ["--disable_tqdm", "true"]
    if "layer" in methods.get(name).hyper_parameters():
        flags += ["--layer", r"language_model\.layers\.1"]
    if name == "altpo":
        samples = plan.make(parse(UnlearnConfig, [*flags, "--method", "npo"]), open_source(str(data))).sides["forget"]
        rows = [{"person": s.person, "question": s.question, "answer": "In Paris."} for s in samples]
        (tmp_path / "alternates").write_text("\n".join(map(json.dumps, rows)))
        flags += ["--alternates", str(tmp_path / "alternates")]
    run.unlearn(parse(UnlearnConfig, [*flags, "--method", name]))
    assert len(guarded) == 3


def test_the_guard_guards(guarded, checkpoint, data, tmp_path, monkeypatch):
    """Without the features kept, Transformers' LLaVA compares counts of image tokens in every forward."""
    monkeypatch.setattr(image_features, "why_plain", lambda *_: "this is a test")
    where = ["--model_name_or_path", str(checkpoint), "--data", str(data), "--output_dir", str(tmp_path / "out")]
    flags = [*where, "--use_cpu", "--forget_ratio", "5", "--method", "gradient_ascent", "--disable_tqdm", "true"]
    with pytest.raises(AssertionError, match="waits for the device"):
        run.unlearn(parse(UnlearnConfig, flags))
