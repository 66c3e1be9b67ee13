"""Activity of neurons by hand, MANU and MIP-Editor's pruning against zeroed weights, on several architectures."""

import copy
import json
import math

import pytest
import torch
from peft import PeftModel
from safetensors.torch import load_file
from tiny_models import FAMILIES, save
from tiny_parts import WORDS
from transformers import AutoModelForImageTextToText

from mllmu_tasks.artifacts.adapter_folder import attach, read_adapter
from mllmu_tasks.errors import UserError
from mllmu_unlearn.config.commands import UnlearnConfig, parse
from mllmu_unlearn.methods import get
from mllmu_unlearn.output.export import link, merge
from mllmu_unlearn.toolbox import neurons
from mllmu_unlearn.training import run

EPSILON = 1e-5
MULTI = [[0.5, -2.0], [0.0, 1.0], [-0.3, 0.05]]
TEXT = [[0.2, 0.0]]


def activity(rows, threshold: float = 0.1) -> neurons.Activity:
    made = neurons.Activity.silent(2)
    for row in rows:  # one token at a time, as batches come
        made.add(torch.tensor([row]), threshold)
    return made


def by_hand(neuron: int) -> float:
    """The four functions of the paper in plain Python."""

    def of(rows):
        z = [row[neuron] for row in rows]
        mean = sum(z) / len(z)
        return {
            "absolute": sum(map(abs, z)) / len(z),
            "above": sum(abs(x) > 0.1 for x in z),
            "variance": sum((x - mean) ** 2 for x in z) / len(z),
            "energy": sum(x * x for x in z),
        }

    m, t = of(MULTI), of(TEXT)
    contrast = lambda what: abs(m[what] - t[what]) / (m[what] + t[what] + EPSILON)
    spread = math.sqrt(m["variance"] + t["variance"])
    return contrast("absolute") + contrast("above") + spread + math.sqrt(contrast("energy"))


def test_importance_is_the_sum_of_four_functions():
    made = neurons.importance(activity(MULTI), activity(TEXT), EPSILON)
    assert made.tolist() == pytest.approx([by_hand(0), by_hand(1)], rel=1e-6)


def test_a_silent_modality_leaves_the_variance():
    made = neurons.importance(activity(MULTI), neurons.Activity.silent(2), 0.0)
    assert (made - activity(MULTI).variance.sqrt()).tolist() == pytest.approx([3.0, 3.0])


def test_top_takes_a_share_of_all_and_at_least_one():
    scores = {"a": torch.tensor([1.0, 5.0, 5.0]), "b": torch.tensor([0.0, 6.0, 5.0])}
    masks = neurons.top(scores, 0.5)
    assert masks["a"].tolist() == [False, True, True]
    assert masks["b"].tolist() == [False, True, False]
    assert sum(int(m.sum()) for m in neurons.top(scores, 0.01).values()) == 1


@pytest.mark.parametrize("family", FAMILIES)
def test_both_towers_have_neurons_in_every_architecture(family):
    model, _ = FAMILIES[family](WORDS)
    vision = neurons.last_projections(model, "vision")
    language = neurons.last_projections(model, "language")
    layers = model.config.get_text_config().num_hidden_layers
    assert len(language) == layers
    assert vision
    assert not set(vision) & set(language)
    assert all(name.endswith(("down_proj", "fc2", "linear_fc2")) for name in vision + language)


@pytest.fixture(scope="module")
def bases(texts, tmp_path_factory):
    return {f: save(f, tmp_path_factory.mktemp(f), texts, 3.0) for f in ("llava", "qwen2_5_vl", "gemma3")}


@pytest.fixture(params=["llava", "qwen2_5_vl", "gemma3"])
def base(request, bases):
    return bases[request.param]


@pytest.fixture
def prune(data, tmp_path):
    def make(method: str, base, *more: str):
        argv = ["--method", method, "--model_name_or_path", str(base), "--data", str(data), "--forget_ratio", "5"]
        argv += [
            "--output_dir",
            str(tmp_path / "out"),
            "--overwrite_output_dir",
            "--use_cpu",
            "--disable_tqdm",
            "true",
            *more,
        ]
        return run.unlearn(parse(UnlearnConfig, argv))

    return make


def inputs(model) -> dict:
    """Two rows of text; the vision tower is asked by itself."""
    return {"input_ids": torch.arange(6, 26).view(2, 10)}


def logits(model) -> torch.Tensor:
    with torch.no_grad():
        return model.eval()(**inputs(model)).logits


def zeroed(base, tensors: dict[str, torch.Tensor], dtype=torch.float32):
    """The plain model with the columns zeroed that the adapter's vectors switch off."""
    model = AutoModelForImageTextToText.from_pretrained(base, dtype=dtype)
    for name, vector in tensors.items():
        module = model.get_submodule(name.removeprefix("base_model.model.").removesuffix(".ia3_l"))
        module.weight.data[:, vector[0] == 0] = 0
    return model


@pytest.mark.parametrize(
    ("method", "more"),
    [
        ("manu", ("--percent", "10")),
        ("manu", ("--percent", "10", "--ranking", "layer")),
        ("mip_prune", ("--top_k", "3")),
    ],
)
def test_the_adapter_equals_the_zeroed_model(base, prune, tmp_path, method, more):
    out = prune(method, base, *more)
    tensors = load_file(out / "adapter_model.safetensors")
    assert {v for t in tensors.values() for v in t.unique().tolist()} == {0.0, 1.0}
    parts = [any(part in name for name, t in tensors.items() if (t == 0).any()) for part in ("language", "vis")]
    assert parts == [True, True]
    plain = AutoModelForImageTextToText.from_pretrained(base)
    before, expected = logits(plain), logits(zeroed(base, tensors))
    model = attach(copy.deepcopy(plain), read_adapter(out), str(base))
    assert torch.equal(logits(model), expected)
    assert not torch.equal(before, expected)
    with model.disable_adapter():
        assert torch.equal(logits(model), before)
    merged = AutoModelForImageTextToText.from_pretrained(merge(out, tmp_path / "merged"))
    wanted = zeroed(base, tensors).state_dict()
    assert all(torch.equal(value, wanted[name]) for name, value in merged.state_dict().items())
    linked = AutoModelForImageTextToText.from_pretrained(link(out, tmp_path / "linked"))
    assert torch.equal(logits(linked), expected)


def test_half_precision_is_exact_too(bases, prune):
    out = prune("manu", bases["llava"], "--percent", "10", "--dtype", "bfloat16")
    tensors = load_file(out / "adapter_model.safetensors")
    assert {t.dtype for t in tensors.values()} == {torch.float32}
    plain = AutoModelForImageTextToText.from_pretrained(bases["llava"], dtype=torch.bfloat16)
    expected = logits(zeroed(bases["llava"], tensors, torch.bfloat16))
    assert torch.equal(logits(PeftModel.from_pretrained(plain, str(out))), expected)


def test_manu_prunes_the_wanted_share_of_each_tower(bases, prune):
    tensors = load_file(prune("manu", bases["llava"], "--percent", "25") / "adapter_model.safetensors")
    for part in ("language_model", "vision_tower"):
        values = torch.cat([t.flatten() for name, t in tensors.items() if part in name])
        assert (values == 0).sum().item() == round(0.25 * len(values))
    tensors = load_file(prune("manu", bases["llava"], "--towers", "language") / "adapter_model.safetensors")
    assert not [name for name in tensors if "vision" in name]


def test_mip_scores_equal_a_direct_computation(bases, data, tmp_path, monkeypatch):
    """By autograd on the hidden units of the last layer, at the positions that predict answers."""
    seen = {}
    attribution = neurons.attribution

    def remember(context, side, names, batches):
        seen["scores"] = attribution(context, side, names, batches)
        seen["batches"] = list(context.batches(side, 4, "text", 8))
        return seen["scores"]

    monkeypatch.setattr(neurons, "attribution", remember)
    argv = ["--method", "mip_prune", "--model_name_or_path", str(bases["llava"]), "--data", str(data), "--batches", "2"]
    argv += ["--forget_ratio", "5", "--modalities", "text", "--use_cpu"]
    run.unlearn(parse(UnlearnConfig, [*argv, "--output_dir", str(tmp_path / "out")]))
    model = AutoModelForImageTextToText.from_pretrained(bases["llava"]).eval()
    name = "model.language_model.layers.1.mlp.down_proj"
    expected = 0
    for batch in seen["batches"]:
        caught = []
        handle = model.get_submodule(name).register_forward_pre_hook(lambda m, args, to=caught: to.append(args[0]))
        ours = ("labels", "keep", "index", "padding", "image_runs")
        logits = model(**{k: v for k, v in batch.items() if k not in ours}).logits
        handle.remove()
        scored = batch["labels"] != -100
        loss = torch.nn.functional.cross_entropy(logits[:, batch["keep"]][scored], batch["labels"][scored])
        (gradient,) = torch.autograd.grad(loss, caught[0])
        expected = expected + (caught[0] * gradient)[:, batch["keep"]][scored].abs().mean(0) / 2
    assert torch.allclose(seen["scores"][name], expected.detach(), rtol=1e-4, atol=1e-9)
    assert set(seen["scores"]) == {name, name.replace("1", "0")}


def test_wrong_values_are_refused(prune, bases):
    with pytest.raises(UserError, match="--percent is 100"):
        get("manu")(percent=100)
    with pytest.raises(UserError, match="ranking 'global' is unknown"):
        get("manu")(ranking="global")
    with pytest.raises(UserError, match=r"unknown tower 'vison'.*vision"):
        get("mip_prune")(towers="vison")
    with pytest.raises(UserError, match="must be 1 or more"):
        get("mip_prune")(top_k=0)
    with pytest.raises(UserError, match="no training pair has an image"):
        prune("manu", bases["llava"], "--towers", "vision", "--modalities", "text")


@pytest.mark.parametrize("method", ["manu", "mip_prune"])
def test_a_vision_layer_that_nothing_reads_is_no_candidate(texts, prune, tmp_path, method):
    """LLaVA-1.5 takes the last layer but one (`vision_feature_layer` -2): the last one runs, and gets no gradient."""
    base = save("llava_next", tmp_path / "base", texts, 3.0)
    config = json.loads((base / "config.json").read_text())
    (base / "config.json").write_text(json.dumps(config | {"vision_feature_layer": -2}))
    vectors = load_file(prune(method, base) / "adapter_model.safetensors")
    pruned = [name for name, vector in vectors.items() if "vision_tower" in name and (vector == 0).any()]
    assert pruned
    assert all(".layers.0." in name for name in pruned)
