"""benchmarks/training.py runs, its bare loops do the trainer's arithmetic, and no ratio is out of all bounds."""

import pytest
import torch
from benchmark_scripts import load

from mllmu_tasks.benchmarks.mini.tiny import TinyShape
from mllmu_unlearn.methods import _registry


@pytest.fixture
def script(monkeypatch):
    module = load("training")
    monkeypatch.setattr(module, "SHAPE", TinyShape(hidden=64, layers=2, heads=2, feed_forward=96, vision_hidden=32))
    monkeypatch.setattr(module, "BLOCK", 2)
    yield module
    del _registry._METHODS["npo_alone"]  # the script registers it


def test_ratios_within_generous_bounds(script):
    names = ["bare_npo", "npo", "npo_alone", "gradient_ascent"]
    seconds = script.measure(names, 8, 4)
    assert [len(seconds[name]) for name in names] == [3] * 4  # blocks after the first
    assert script.ratio(seconds, "npo", "bare_npo").processor < 2  # of a model that is nearly nothing
    assert script.ratio(seconds, "npo_alone", "gradient_ascent").processor < 1.5


@pytest.mark.parametrize("name", ["gradient_ascent", "grad_diff", "npo", "kl_min"])
def test_bare_losses_are_the_trainers(script, monkeypatch, name):
    """What the ratio compares is the same loss on the same batches."""
    losses = []

    def first_losses(trainer, loss, turns):
        batch = next(iter(trainer.get_train_dataloader()))
        trainer.model.eval()
        _, counts = trainer.get_batch_samples(iter([batch]), 1, torch.device("cpu"))
        with torch.no_grad():
            losses.append(loss(trainer, batch).item())
            losses.append(trainer.compute_loss(trainer.model, batch, num_items_in_batch=counts).item())
        for _ in range(turns.steps + 1):
            turns.next()

    monkeypatch.setattr(script, "bare_loop", first_losses)
    script.measure([f"bare_{name}"], 2, 4)
    assert losses[0] == pytest.approx(losses[1], rel=1e-4)
