"""LoRA sits on exactly the named modules; with it off the model is the base bit for bit."""

import copy
import json
import re

import pytest
import torch
from torch import nn

from mllmu_tasks.errors import UserError
from mllmu_unlearn.toolbox.adapter_sites import (
    Lora,
    add_lora,
    modules,
    pattern,
    refuse_adapter_folder,
    trainable_of_lora,
)

ATTENTION = ["q_proj", "k_proj", "v_proj", "o_proj"]
MLP = ["gate_proj", "up_proj", "down_proj"]


def language(path: str) -> set[str]:
    parts = [f"self_attn.{n}" for n in ATTENTION] + [f"mlp.{n}" for n in MLP]
    return {f"{path}.layers.{layer}.{part}" for layer in (0, 1) for part in parts}


def test_llava_language_only_is_exact(tiny):
    wrapped = add_lora(copy.deepcopy(tiny[0]), Lora(r=2))
    carrying = {n for n, m in wrapped.base_model.model.named_modules() if "lora_A" in dict(m.named_children())}
    assert carrying == language("model.language_model")
    trained = {n for n, p in wrapped.named_parameters() if p.requires_grad}
    assert len(trained) == 2 * len(carrying)
    assert all("lora_" in n for n in trained)


def test_each_family_names_its_language_model(family):
    path = "model.text_model" if type(family[0]).__name__.startswith("Idefics3") else "model.language_model"
    assert set(modules(family[0], ["language"])) == language(path)


def test_parts_do_not_overlap_and_cover_all_but_the_head(family):
    model, _ = family
    parts = [set(modules(model, [part])) for part in ("language", "projector", "vision")]
    linear = {n for n, m in model.named_modules() if isinstance(m, nn.Linear)}
    assert sum(map(len, parts)) == len(set.union(*parts))
    missing = {n.rpartition(".")[2] for n in linear - set.union(*parts)}
    assert missing <= {"lm_head"}


def test_official_targets_leak_into_the_tower_as_the_official_code_does(tiny):
    official = set(modules(tiny[0], ["official"]))
    leaked = official - set(modules(tiny[0], ["language"]))
    assert {n.rpartition(".")[2] for n in leaked} == {"q_proj", "k_proj", "v_proj"}
    assert all(".vision_tower." in n for n in leaked)


def test_the_pattern_matches_those_names_only(family):
    model, _ = family
    wanted = modules(model, ["language", "projector"])
    expression = pattern(wanted)
    assert [n for n, _ in model.named_modules() if re.fullmatch(expression, n)] == wanted


def test_counting_without_weights(tiny):
    lora = Lora(r=3, targets=("language", "vision"))
    wrapped = add_lora(copy.deepcopy(tiny[0]), lora)
    assert trainable_of_lora(tiny[0], lora) == sum(p.numel() for p in wrapped.parameters() if p.requires_grad)


def test_disabled_adapter_is_the_base_bit_for_bit(tiny):
    model, _ = tiny
    ids = torch.randint(5, 300, (2, 7))
    wrapped = add_lora(copy.deepcopy(model), Lora(r=2)).eval()
    with torch.no_grad():
        base = model(input_ids=ids).logits
        for name, parameter in wrapped.named_parameters():
            if "lora_B" in name:
                parameter.fill_(0.1)
        assert not torch.allclose(wrapped(input_ids=ids).logits, base)
        with wrapped.disable_adapter():
            assert torch.equal(wrapped(input_ids=ids).logits, base)


@pytest.mark.parametrize(
    ("options", "word"),
    [
        ({"targets": ("langauge",)}, "Did you mean 'language'"),
        ({"r": 0}, "lora_r"),
        ({"dropout": 1.0}, "lora_dropout"),
    ],
)
def test_bad_options(options, word):
    with pytest.raises(UserError, match=word):
        Lora(**options)


def test_a_part_without_linear_layers_is_an_error(tiny):
    model = copy.deepcopy(tiny[0])
    model.model.multi_modal_projector = nn.Identity()
    with pytest.raises(UserError, match="projector"):
        modules(model, ["projector"])


def test_an_adapter_as_base_is_refused(tmp_path):
    (tmp_path / "adapter_config.json").write_text(json.dumps({}))
    with pytest.raises(UserError, match="is an adapter, no model; merge the adapter first"):
        refuse_adapter_folder(str(tmp_path))
