"""The greedy loop: what processors of logits see of a padded batch whose rows leave, and what leaves with a row."""

import json
import shutil

import pytest
import torch
from asking import MIXED, SETTINGS, ask
from token_answers import made, plain
from transformers import (
    DynamicCache,
    Lfm2Config,
    LogitsProcessorList,
    MinNewTokensLengthLogitsProcessor,
    RepetitionPenaltyLogitsProcessor,
)

from mllmu_tasks.models.engine.decoding import for_leaving_rows, leave, packed

LONG = {**SETTINGS, "max_new_tokens": 16, "until": []}


@pytest.mark.parametrize("family", ["llava", "qwen2_5_vl", "gemma3", "mllama"])
def test_repetitions_are_punished_as_in_a_row_alone(folders, monkeypatch, family):
    """Rows leave, and stand behind padding or in front of it: neither may be noticed."""
    settings = {**LONG, "repetition_penalty": 1.3, "no_repeat_ngram_size": 2}
    whole, _ = plain(folders(family), MIXED, monkeypatch, settings)
    settings["until"] = ["<" + text.split("<")[2 + 3 * n % 7] for n, text in enumerate(whole)]
    expected, before = plain(folders(family), MIXED, monkeypatch, settings)
    assert before.tokens_decoded < 16 * len(MIXED)
    assert ask(made(folders(family), 8), MIXED, settings) == expected


def test_a_penalty_of_the_checkpoint(folders, monkeypatch, tmp_path):
    """Qwen2.5-VL's generation_config.json has one."""
    folder = shutil.copytree(folders("qwen2_5_vl"), tmp_path / "model")
    config = json.loads((folder / "generation_config.json").read_text())
    (folder / "generation_config.json").write_text(json.dumps(config | {"repetition_penalty": 1.4}))
    without, _ = plain(folders("qwen2_5_vl"), MIXED, monkeypatch, LONG)
    settings = {**LONG, "until": ["<" + text.split("<")[3] for text in without]}
    expected, _ = plain(folder, MIXED, monkeypatch, settings)
    assert expected != plain(folders("qwen2_5_vl"), MIXED, monkeypatch, settings)[0]
    assert ask(made(folder, 8), MIXED, settings) == expected


def test_packed():
    ids = torch.tensor([[5, 6, 0, 0, 7], [0, 0, 3, 4, 8], [1, 2, 3, 4, 5]])
    mask = torch.tensor([[1, 1, 0, 0, 1], [0, 0, 1, 1, 1], [1, 1, 1, 1, 1]])
    assert packed(ids, mask).tolist() == [[5, 5, 5, 6, 7], [3, 3, 3, 4, 8], [1, 2, 3, 4, 5]]
    assert packed(ids, None) is ids


def test_other_processors_stay():
    least = MinNewTokensLengthLogitsProcessor(3, 2, 1)
    lengths = torch.tensor([0, 2])
    made_for_two = RepetitionPenaltyLogitsProcessor(1.5, prompt_ignore_length=lengths)
    penalty, same = for_leaving_rows(LogitsProcessorList([made_for_two, least]))
    assert same is least
    assert penalty(torch.tensor([[1]]), torch.ones(1, 3)).tolist() == [[1, pytest.approx(1 / 1.5), 1]]


def test_states_of_layers_without_attention_leave_too():
    config = Lfm2Config(
        num_hidden_layers=2, layer_types=["full_attention", "conv"], hidden_size=8, num_attention_heads=1
    )
    cache = DynamicCache(config=config)
    rows = torch.arange(3.0)
    keys = rows.view(3, 1, 1, 1).expand(3, 1, 4, 8)
    cache.update(keys, keys, 0)
    cache.update_conv_state(rows.view(3, 1, 1).expand(3, 8, 3).clone(), 1)
    state = {"past_key_values": cache, "attention_mask": torch.ones(3, 4)}
    left = leave(torch.arange(12).view(3, 4), state, torch.tensor([0, 2]))
    assert left.tolist() == [[0, 1, 2, 3], [8, 9, 10, 11]]
    assert state["attention_mask"].shape == (2, 4)
    conv = cache.layers[1].conv_states[0]
    assert cache.layers[0].keys[:, 0, 0, 0].tolist() == conv[:, 0, 0].tolist() == [0, 2]
