"""Saliency by hand; masks that hold bit for bit; SHiRA of any mask; resumed and repeated runs of masked methods."""

import math

import pytest
import torch
import yaml
from peft import PeftModel
from safetensors.torch import load_file
from tiny_models import save
from transformers import AutoModelForImageTextToText

from mllmu_tasks.artifacts.adapter_folder import attach, read_adapter
from mllmu_tasks.errors import UserError
from mllmu_unlearn.config.commands import UnlearnConfig, parse
from mllmu_unlearn.methods import get
from mllmu_unlearn.methods._masked import MaskedMethod
from mllmu_unlearn.methods.smfa import sculpted
from mllmu_unlearn.output.export import link, merge
from mllmu_unlearn.toolbox import adapter_sites, saliency
from mllmu_unlearn.toolbox.context import Context
from mllmu_unlearn.training import run
from mllmu_unlearn.training.trainer import MethodTrainer

IDS = torch.arange(6, 26).view(2, 10)


@pytest.fixture(scope="module")
def base(texts, tmp_path_factory):
    return save("llava", tmp_path_factory.mktemp("llava"), texts, 3.0)


@pytest.fixture
def unlearn(base, data, tmp_path):
    """unlearn(method, *flags) -> the finished folder; a short run on the tiny LLaVA."""

    def make(method: str, *more: str, out: str = "out"):
        argv = ["--method", method, "--model_name_or_path", str(base), "--data", str(data), "--forget_ratio", "5"]
        argv += [
            "--output_dir",
            str(tmp_path / out),
            "--overwrite_output_dir",
            "--use_cpu",
            "--disable_tqdm",
            "true",
            "--max_steps",
            "4",
        ]
        argv += ["--learning_rate", "5e-3", "--per_device_train_batch_size", "8", "--lora_r", "2", *more]
        return run.unlearn(parse(UnlearnConfig, argv))

    return make


def weights(folder) -> dict[str, torch.Tensor]:
    return AutoModelForImageTextToText.from_pretrained(folder).state_dict()


def logits(model) -> torch.Tensor:
    with torch.no_grad():
        return model.eval()(input_ids=IDS).logits


def test_the_ratio_is_taken_in_float32():
    small = {"w": torch.tensor([1e-5, 1e-5, 0.0]).square()}  # squares that half precision would lose
    other = {"w": torch.tensor([2e-5, 1e-6, 0.0]).square()}
    assert saliency.by_ratio(small, other, 1.0, 1e-15)["w"].tolist() == [False, True, True]
    assert saliency.by_ratio(small, other, 50.0, 1e-15)["w"].tolist() == [False, True, False]


def test_the_best_share_of_all_entries():
    scores = {"a": torch.tensor([[0.5, 0.0], [3.0, 1e-30]]), "b": torch.tensor([2.0, 0.5, 0.0, 0.0])}
    masks = saliency.by_rank(scores, 0.25)
    assert (masks["a"].tolist(), masks["b"].tolist()) == ([[False, False], [True, False]], [True, False, False, False])
    ties = saliency.by_rank(scores, 3 / 8)
    assert sum(int(m.sum()) for m in ties.values()) == 4
    everything = saliency.by_rank(scores, 0.99)
    assert sum(int(m.sum()) for m in everything.values()) == 5  # zeros never


def test_mean_gradients_equal_autograd(base):
    model = AutoModelForImageTextToText.from_pretrained(base)
    name = "model.language_model.layers.0.mlp.up_proj.weight"
    batches = [
        {"input_ids": IDS[i : i + 1], "labels": IDS[i : i + 1, 5:8], "keep": torch.tensor([4, 5, 6]), "index": None}
        for i in range(2)
    ]
    with saliency.training(model, [name]):
        made = saliency.mean_gradient(model, [name], batches)[name]
        squares = saliency.fisher(model, [name], batches)[name]
    assert all(parameter.requires_grad for parameter in model.parameters())
    expected = []
    for batch in batches:
        logits = model.eval()(input_ids=batch["input_ids"]).logits[0, 4:7].double()
        nll = torch.logsumexp(logits, -1) - logits[torch.arange(3), batch["labels"][0]]
        expected.append(torch.autograd.grad(nll.mean(), model.get_parameter(name))[0])
    assert torch.allclose(made, (expected[0] + expected[1]) / 2, rtol=1e-3, atol=1e-7)
    assert torch.allclose(squares, (expected[0] ** 2 + expected[1] ** 2) / 2, rtol=1e-3, atol=1e-9)
    with pytest.raises(UserError, match="no samples"):
        saliency.fisher(model, [name], [])


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_gradients_that_are_not_finite_choose_no_mask(base, value):
    model = AutoModelForImageTextToText.from_pretrained(base)
    name = "model.language_model.layers.0.mlp.up_proj.weight"
    batch = {"input_ids": IDS[:1], "labels": IDS[:1, 5:8], "keep": torch.tensor([4, 5, 6]), "index": None}
    model.get_parameter(name).register_hook(lambda gradient: torch.full_like(gradient, value))
    with saliency.training(model, [name]), pytest.raises(UserError, match=f"gradient of {name} is not finite"):
        saliency.mean_gradient(model, [name], [batch])


@pytest.mark.parametrize(("carrier", "said"), [("shira", "trained at most"), ("full", "trained")])
def test_a_dry_run_says_that_a_mask_is_not_known_yet(base, unlearn, capsys, carrier, said):
    """Memory is planned for the gradients of all weights that compete."""
    unlearn("salun", "--dry_run", "--carrier", carrier, "--share", "0.01")
    model = AutoModelForImageTextToText.from_pretrained(base)
    every = sum(model.get_submodule(name).weight.numel() for name in adapter_sites.of_part(model, "both"))
    assert f"{said} {every:,} ({carrier})" in capsys.readouterr().out


def test_masks_hold_against_decay_and_momentum():
    torch.manual_seed(0)
    model = torch.nn.Linear(3, 2, bias=False)
    mask = torch.tensor([[True, False, False], [False, False, True]])
    masked, start = saliency.Masked(model, {"weight": mask}), model.weight.detach().clone()
    optimizer = torch.optim.AdamW(model.parameters(), lr=0.1, weight_decay=0.5)

    def step(active: bool):
        masked.active = active
        optimizer.zero_grad()
        model(torch.ones(1, 3)).square().sum().backward()
        gradient = model.weight.grad.clone()
        masked.hold()
        optimizer.step()
        masked.release()
        return gradient

    assert step(True)[~mask].abs().max() == 0
    assert torch.equal(model.weight[~mask], start[~mask])
    assert (model.weight[mask] != start[mask]).all()
    step(False)
    between = model.weight.detach().clone()
    assert (between != start).all()
    step(True)  # now there is momentum everywhere
    assert torch.equal(model.weight[~mask], between[~mask])
    again = saliency.Masked(torch.nn.Linear(3, 2, bias=False), {"weight": torch.zeros(2, 3, dtype=torch.bool)})
    again.unpack(masked.packed())
    assert torch.equal(again.masks["weight"], mask)
    with pytest.raises(UserError, match="the mask of other fits no weight"):
        saliency.Masked(model, {"other": mask})


def test_a_shira_of_any_mask(base, tmp_path):
    model = AutoModelForImageTextToText.from_pretrained(base)
    plain = {name: value.clone() for name, value in model.state_dict().items()}
    names = adapter_sites.of_part(model, "language")
    draw = torch.Generator().manual_seed(0)
    masks = {f"{n}.weight": torch.rand(model.get_submodule(n).weight.shape, generator=draw) < 0.1 for n in names}
    masks[f"{names[0]}.weight"][:] = False  # one layer has nothing
    wrapped, keep = saliency.add_shira(model, masks, None)
    trained = {name: parameter for name, parameter in wrapped.named_parameters() if parameter.requires_grad}
    assert trained.keys() == keep.keys()
    assert [int(keep[name].sum()) for name in trained] == [int(mask.sum()) for mask in masks.values()]
    for name, parameter in trained.items():
        parameter.data[keep[name]] = 1.0
    wrapped.save_pretrained(tmp_path)
    loaded = PeftModel.from_pretrained(AutoModelForImageTextToText.from_pretrained(base), str(tmp_path))
    assert torch.equal(logits(loaded), logits(wrapped))
    merged = loaded.merge_and_unload().state_dict()
    for name, value in plain.items():
        assert torch.allclose(merged[name] - value, masks[name].float() if name in masks else torch.zeros(()))
    dense = {name: torch.ones_like(mask) for name, mask in masks.items()}
    with pytest.raises(UserError, match=r"does not fit SHiRA .* use --carrier full"):
        saliency.add_shira(AutoModelForImageTextToText.from_pretrained(base), dense, None)


@pytest.mark.parametrize("ranking", ["all", "layer"])
def test_salun_moves_its_share_and_nothing_else_whatever_carries_it(base, unlearn, tmp_path, ranking):
    flags = ("--share", "0.05", "--modules", "language", "--ranking", ranking, "--weight_decay", "0.1")
    start, places = weights(base), adapter_sites.of_part(AutoModelForImageTextToText.from_pretrained(base), "language")
    full = weights(unlearn("salun", *flags, "--carrier", "full", out="full"))
    sparse = unlearn("salun", *flags, "--carrier", "shira", out="shira")
    merged = weights(merge(sparse, tmp_path / "merged"))
    plain = AutoModelForImageTextToText.from_pretrained(base)
    evaluated = attach(plain, read_adapter(sparse), str(base))
    with torch.no_grad():
        expected = AutoModelForImageTextToText.from_pretrained(tmp_path / "merged")(input_ids=IDS).logits
    assert torch.allclose(logits(evaluated), expected, atol=1e-5)
    with pytest.raises(UserError, match="use --merge"):
        link(sparse, tmp_path / "linked")
    with pytest.raises(UserError, match="pass it as pretrained="):
        read_adapter(tmp_path / "full")
    total = sum(start[f"{name}.weight"].numel() for name in places)
    for after in (full, merged):
        moved = {name: start[name] != after[name] for name in start}
        assert {n.removesuffix(".weight") for n, where in moved.items() if where.any()} <= set(places)
        count = sum(int(where.sum()) for where in moved.values())
        assert 0.9 * 0.05 * total < count <= math.ceil(0.05 * total) + len(places)
    both = [torch.cat([(w[f"{n}.weight"] != start[f"{n}.weight"]).flatten() for n in places]) for w in (full, merged)]
    assert (both[0] == both[1]).float().mean() > 0.99  # the same mask, but for updates too small to show


def test_mmunlearner_ascends_under_the_mask_and_descends_everywhere(base, unlearn, monkeypatch):
    steps = []
    original = saliency.Masked.release

    def release(self):
        original(self)
        steps.append((self.active, {name: p.detach().clone() for name, p in self.parameters.items()}, self.masks))

    monkeypatch.setattr(saliency.Masked, "release", release)
    out = unlearn("mmunlearner", "--max_steps", "5", "--weight_decay", "0.1", "--modules", "language")
    assert [active for active, _, _ in steps] == [True, False, False, False, False]
    before = weights(base)
    for active, after, masks in steps:
        moved = {name: before[name] != value for name, value in after.items()}
        if active:
            assert all((where <= masks[name]).all() for name, where in moved.items())
            assert any(where.any() for where in moved.values())
        else:
            assert any((where & ~masks[name]).any() for name, where in moved.items())
        before = before | after
    record = yaml.safe_load((out / "unlearning.yaml").read_text())
    assert record["kind"] == "full"
    assert record["data"]["pairs"]["biographies"] == 80
    assert set(record["training"]["final_losses"]) == {"loss", "loss_forget", "loss_retain"}


@pytest.mark.parametrize("modalities", ["image,text", "image"])
def test_text_about_everyone_is_kept_if_only_images_are_forgotten(unlearn, monkeypatch, modalities):
    asked = []
    batches = Context.batches

    def remember(self, side, *args, **kwargs):
        asked.append(side)
        return batches(self, side, *args, **kwargs)

    monkeypatch.setattr(Context, "batches", remember)
    count = MaskedMethod.batch_count

    def checked(self, context, side):
        assert count(self, context, side) == sum(1 for _ in self.batches(context, side))
        return count(self, context, side)

    monkeypatch.setattr(MaskedMethod, "batch_count", checked)
    unlearn("mmunlearner", "--max_steps", "1", "--modalities", modalities)
    assert ("biographies" in asked) == (modalities == "image")


def test_mmunlearner_says_what_carries_it(unlearn):
    lora = unlearn("mmunlearner", "--carrier", "lora", "--modules", "language")
    record = yaml.safe_load((lora / "unlearning.yaml").read_text())
    assert (record["kind"], record["hyper_parameters"]["carrier"]) == ("lora", "lora")
    assert record["hyper_parameters"]["lora_target"] == "language"
    sparse = unlearn("mmunlearner", "--carrier", "shira", "--threshold", "20", out="sparse")
    assert yaml.safe_load((sparse / "unlearning.yaml").read_text())["kind"] == "shira"
    with pytest.raises(UserError, match="no weight is salient"):
        unlearn("mmunlearner", "--threshold", "1e30")
    with pytest.raises(UserError, match=r"carrier 'ful' is unknown.*full"):
        get("mmunlearner")(carrier="ful")


def test_sculpting():
    delta, anchor = torch.tensor([3.0, -4.0, 0.1, 0.0]), torch.tensor([1.0, 0.5, -0.5, -9.0])
    ratio = math.sqrt(25.01) / math.sqrt(82.5)
    assert 2 * ratio * 0.5 < 4.0  # the second entry contradicts the anchor and outweighs it; the third does not
    assert 2 * ratio * 0.5 > 0.1
    assert sculpted(delta, anchor, 2.0).tolist() == pytest.approx([3.0, 0.0, 0.1, 0.0])
    assert torch.equal(sculpted(delta, torch.zeros(4), 2.0), delta)


def test_smfa_adds_the_mean_of_sculpted_deltas(base, unlearn, monkeypatch):
    seen = {}
    finish = get("smfa").finish

    def remember(self, context):
        layer = context.model.base_model.model.model.language_model.layers[0].mlp.up_proj
        seen.update({name: layer.get_delta_weight(name).detach().clone() for name in layer.lora_A})
        return finish(self, context)

    monkeypatch.setattr(get("smfa"), "finish", remember)
    out = unlearn("smfa", "--max_steps", "6")
    assert {name: bool(delta.any()) for name, delta in seen.items()} == {
        "default": True,
        "forgets_image": True,
        "forgets_text": True,
    }
    name = "model.language_model.layers.0.mlp.up_proj.weight"
    parts = [sculpted(seen[f"forgets_{m}"], seen["default"], k) for m, k in (("image", 5.0), ("text", 10.0))]
    expected = weights(base)[name] + sum(parts) / 2
    assert torch.allclose(weights(out)[name], expected, atol=1e-7)
    record = yaml.safe_load((out / "unlearning.yaml").read_text())
    assert record["data"]["pairs"] == {
        "anchor": 102,
        "idk_image": 6,
        "keep_image": 34,
        "idk_text": 12,
        "keep_text": 68,
    }
    assert (record["kind"], record["hyper_parameters"]["lora_r"]) == ("full", 2)


RESUMED = [
    ("salun", ("--share", "0.05")),
    ("mmunlearner", ("--carrier", "full")),
    ("mmunlearner", ("--carrier", "lora")),
    ("smfa", ("--lora_dropout", "0.05")),
    ("pdu", ("--epsilon", "0.1", "--dual_warmup", "0")),
]


@pytest.mark.parametrize(("method", "more"), RESUMED)
def test_interrupted_and_resumed_equals_uninterrupted(unlearn, tmp_path, monkeypatch, method, more):
    flags = (*more, "--save_strategy", "steps", "--save_steps", "1", "--weight_decay", "0.1")
    whole = unlearn(method, *flags, out="whole")
    with monkeypatch.context() as patch:
        step = MethodTrainer.training_step

        def stop(self, *args, **kwargs):
            if self.state.global_step == 3:
                raise KeyboardInterrupt
            return step(self, *args, **kwargs)

        patch.setattr(MethodTrainer, "training_step", stop)
        with pytest.raises(KeyboardInterrupt):
            unlearn(method, *flags)
    again = unlearn(method, *flags, "--resume_from_checkpoint")
    (file,) = [path.name for path in whole.glob("*.safetensors")]
    one, two = load_file(whole / file), load_file(again / file)
    assert one.keys() == two.keys()
    assert all(torch.equal(one[name], two[name]) for name in one)


@pytest.mark.parametrize(("method", "more"), [*RESUMED[:2], RESUMED[3]])
def test_half_precision(unlearn, method, more):
    out = unlearn(method, *more, "--dtype", "bfloat16")
    (file,) = out.glob("*.safetensors")
    tensors = load_file(file)
    assert {t.dtype for t in tensors.values()} <= {torch.bfloat16, torch.float32, torch.int32}
    assert all(torch.isfinite(t).all() for t in tensors.values() if t.is_floating_point())
    with pytest.raises(UserError, match="float16"):
        unlearn("mmunlearner", "--dtype", "float16", out="other")


def test_cross_attention_trains_on_images_and_text_together(texts, data, tmp_path):
    base = save("mllama", tmp_path / "mllama", texts, 3.0)
    argv = ["--method", "salun", "--model_name_or_path", str(base), "--data", str(data), "--forget_ratio", "5"]
    argv += ["--output_dir", str(tmp_path / "out"), "--use_cpu", "--disable_tqdm", "true", "--max_steps", "2"]
    argv += ["--train_sampling_strategy", "random"]
    record = yaml.safe_load((run.unlearn(parse(UnlearnConfig, argv)) / "unlearning.yaml").read_text())
    assert record["modalities"] == ["image", "text"]
    assert all(math.isfinite(value) for value in record["training"]["final_losses"].values())
