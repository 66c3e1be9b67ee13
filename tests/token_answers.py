"""Models that answer with their token ids, with and without all that the engine reuses."""

from dataclasses import replace

from asking import ask, to_messages

from mllmu_tasks.harness.hf import MllmuHf
from mllmu_tasks.models.engine import engine
from mllmu_tasks.models.families import family_of

SHARING = ["llava_next", "llava_onevision", "internvl", "qwen2_vl", "qwen2_5_vl", "qwen3_vl", "idefics2", "idefics3"]


def made(folder, batch_size=4, **arguments):
    model = MllmuHf(pretrained=str(folder), device="cpu", batch_size=batch_size, **arguments)
    special = set(model.engine.tokenizer.all_special_ids)
    model.engine.read = lambda rows: ["".join(f"<{n}>" for n in row if n not in special) for row in rows]
    return model


def plain(folder, docs, monkeypatch, settings=None, messages=to_messages, **arguments):
    """One by one and without reuse: the answers, and the engine's counts."""
    with monkeypatch.context() as patch:
        patch.setattr(engine, "family_of", lambda name: replace(family_of(name), shares=False))
        model = made(folder, batch_size=1, feature_cache=0, **arguments)
        return ask(model, docs, settings, messages), model.engine.counts
