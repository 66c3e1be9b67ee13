"""The engine's answers are those of a plain loop, and its counters tell what it saved."""

import json
import shutil

import one_by_one
import pytest
import tiny_models
import torch
from asking import MIXED, SETTINGS, ask, document

from mllmu_tasks.harness.hf import MllmuHf
from mllmu_tasks.models.features import FeatureCache

LONG = {**SETTINGS, "max_new_tokens": 12, "until": []}
CACHED = [family for family in tiny_models.FAMILIES if family != "mllama"]


def made(folder, **arguments):
    """A model whose answers are token ids: random tokens are mostly broken UTF-8, which decodes alike."""
    model = MllmuHf(**{"pretrained": str(folder), "device": "cpu", **arguments})
    special = set(model.engine.tokenizer.all_special_ids)
    model.engine.read = lambda rows: [" ".join(str(n) for n in row if n not in special) for row in rows]
    return model


def documents(family):
    return [doc for doc in MIXED if doc["images"] or family not in tiny_models.NEED_IMAGES]


@pytest.mark.parametrize("family", tiny_models.FAMILIES)
def test_answers_are_those_of_a_plain_loop(folders, family):
    docs = documents(family)
    expected = [" ".join(map(str, row)) for row in one_by_one.answers(folders(family), docs, LONG)[0]]
    model = made(folders(family), batch_size=8)
    assert ask(model, docs, LONG) == expected
    assert model.engine.counts.by_generate == 0


@pytest.mark.parametrize("family", CACHED)
def test_each_distinct_image_is_encoded_once(folders, family):
    """Three questions about each of two people, batch by batch; the second round finds everything."""
    model = made(folders(family), batch_size=2)
    docs = [document(person, text, images=1) for text in ("Who is it?", "Where?", "Name?") for person in (1, 2)]
    answers = ask(model, docs)
    counts = model.engine.counts
    tiles = counts.images_encoded // 2
    assert counts.images_encoded == 2 * tiles
    assert counts.images_reused == 4 * tiles
    ask(model, docs)
    assert counts.images_encoded == 2 * tiles
    forgetful = made(folders(family), batch_size=1, feature_cache=0)
    assert ask(forgetful, docs) == answers
    assert forgetful.engine.counts.images_encoded == 6 * tiles


def test_a_full_cache_keeps_what_it_has():
    cache = FeatureCache(room=100)
    features = {"a": (torch.zeros(20),), "b": (torch.ones(20),), "c": (torch.zeros(2), torch.zeros(3))}
    images = ["a", "b", "a", "c", "b"]
    asked = []

    def encode(places):
        asked.append([images[place] for place in places])
        return [features[image] for image in asked[-1]]

    for encoded in (3, 1):
        found, count = cache.take(images, encode)
        assert count == encoded
        assert all(map(torch.equal, (one[0] for one in found), (features[image][0] for image in images)))
    assert asked == [["a", "b", "c"], ["b"]]
    assert list(cache.kept) == ["a", "c"]
    assert cache.room == 0


@pytest.mark.parametrize("family", ["llava", "qwen2_5_vl", "gemma3", "mllama"])
def test_rows_leave_when_they_are_over(folders, family):
    """Each answer ends by a stop text of its own; the others go on as if it had not been there."""
    docs = documents(family)
    whole = [text.split() for text in ask(made(folders(family), batch_size=8), docs, LONG)]
    ends = [row[min(2 + n, len(row) - 1)] for n, row in enumerate(whole)]
    settings = {**LONG, "until": [f" {end}" for end in ends]}
    model = made(folders(family), batch_size=8)
    together = ask(model, docs, settings)
    assert together == ask(made(folders(family), batch_size=1), docs, settings)
    assert model.engine.counts.tokens_decoded < 12 * len(docs)
    assert len({len(text.split()) for text in together}) > 1


@pytest.mark.parametrize("settings", [{"do_sample": True, "temperature": 1.0}, {"num_beams": 2}])
def test_sampling_and_beams_are_left_to_generate(folders, settings):
    model = made(folders(), batch_size=4)
    assert all(ask(model, MIXED, {"max_new_tokens": 3, **settings}))
    assert model.engine.counts.by_generate == len(MIXED)


@pytest.mark.parametrize("shots", [0, 2])
def test_a_processor_with_other_sizes_is_refused(folders, tmp_path, capsys, shots):
    """Alone, in a shared beginning, and for questions about the same image."""
    base = shutil.copytree(folders(), tmp_path / "base")
    settings = json.loads((base / "processor_config.json").read_text())
    (base / "processor_config.json").write_text(json.dumps(settings | {"patch_size": 28}))
    docs = [document(person, text, images=1, shots=shots) for text in ("Who is it?", "Where?") for person in (1, 2)]
    with pytest.raises(SystemExit):
        ask(made(base, batch_size=4), docs)
    assert "features of it; give the processor this model's patch_size" in capsys.readouterr().err
