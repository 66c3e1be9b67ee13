"""What every registered method must hold, on three architectures; a new method file is picked up by itself."""

import json
import math
from pathlib import Path

import pytest
import torch
import yaml
from reloading import Elsewhere
from safetensors.torch import load_file
from tiny_models import save
from transformers import AutoModelForImageTextToText

from mllmu_tasks.artifacts.adapter_folder import read_adapter
from mllmu_unlearn import methods
from mllmu_unlearn.config.commands import UnlearnConfig, parse
from mllmu_unlearn.training import run
from mllmu_unlearn.training.plan import context_of

REQUESTS = {
    "llava": ("--modalities", "image,text", "--forget_ratio", "5"),
    "qwen2_5_vl": ("--modalities", "image", "--forget_ids", "002,005"),
    "idefics3": ("--modalities", "text", "--forget_ids", "IDS"),
}
STEPS = {"smfa": "3"}  # its three stages
NEEDED = {"rmu": ("--layer", r"(language|text)_model\.layers\.1"), "pdu": ("--epsilon", "0.1")}
OURS = ("labels", "keep", "index", "padding", "image_runs")
TRAINED = [name for name in methods.names() if methods.get(name).kind != "prompt"]


@pytest.fixture(scope="module")
def elsewhere():
    process = Elsewhere()
    yield process
    process.close()


@pytest.fixture(scope="module")
def bases(texts, tmp_path_factory):
    """bases(family) -> a folder with a tiny model of this family."""
    made: dict[str, Path] = {}

    def base(family: str) -> Path:
        if family not in made:
            made[family] = save(family, tmp_path_factory.mktemp(family), texts, factor=3.0)
        return made[family]

    return base


@pytest.fixture(scope="module")
def files(data, tmp_path_factory):
    """A file of ids, and one of other answers to everybody's questions."""
    from mllmu_tasks.data.source import open_source
    from mllmu_unlearn.training.samples import TrainingSet

    folder = tmp_path_factory.mktemp("files")
    (folder / "ids").write_text("003\n007\n")
    everyone = TrainingSet(open_source(str(data)), ("image", "text"))
    rows = [
        {"person": s.person, "question": s.question, "answer": "In Paris."}
        for samples in everyone.by_person.values()
        for s in samples
    ]
    (folder / "alternates").write_text("\n".join(map(json.dumps, rows)))
    return folder


@pytest.fixture
def unlearned(bases, data, files, tmp_path, monkeypatch):
    """unlearned(method, family, *flags) -> (folder, base, the trained model's inputs, logits and weights)."""
    seen = {}
    save_folder = run._save

    def remember(trainer, *rest):
        model, rows = trainer.model, trainer.train_dataset
        samples = rows.sides["forget"] if "forget" in rows.sides else next(iter(rows.sides.values()))
        side = next(name for name, known in rows.sides.items() if known is samples)
        picks = {sample.modality: index for index, sample in enumerate(samples)}
        batch = trainer.data_collator.batch([(i, rows.row(side, i), False) for i in picks.values()])
        seen["inputs"] = {k: v for k, v in batch.items() if k not in OURS}
        with torch.no_grad():
            seen["logits"] = model.eval()(**seen["inputs"]).logits
        seen["weights"] = {n: p.detach().clone() for n, p in model.named_parameters()}
        save_folder(trainer, *rest)

    monkeypatch.setattr(run, "_save", remember)

    def make(method: str, family: str, *more: str):
        base, out = bases(family), tmp_path / f"{method}-{len(list(tmp_path.iterdir()))}"
        request = [str(files / "ids") if word == "IDS" else word for word in REQUESTS[family]]
        needed = ("--alternates", str(files / "alternates")) if method == "altpo" else NEEDED.get(method, ())
        short = ["--max_steps", STEPS.get(method, "2"), "--learning_rate", "5e-3", "--lora_r", "2"]
        argv = ["--method", method, "--model_name_or_path", str(base), "--data", str(data), "--output_dir", str(out)]
        argv += [*request, *short, "--per_device_train_batch_size", "8", "--use_cpu", "--disable_tqdm", "true"]
        config = parse(UnlearnConfig, [*argv, "--logging_steps", "1", *needed, *more])
        return run.unlearn(config), base, config, dict(seen)

    return make


@pytest.mark.parametrize("family", REQUESTS)
@pytest.mark.parametrize("method", TRAINED)
def test_method(method, family, unlearned, elsewhere, tmp_path):
    out, base, config, trained = unlearned(method, family)
    check_record(out, config, base)
    check_moved(out, config, base, trained["weights"])
    again = elsewhere.open(base, out, config.kind, trained["inputs"], tmp_path / "elsewhere")
    assert torch.equal(again["logits"], trained["logits"])
    assert not torch.equal(again["logits"], again["base"])
    if config.kind != "full":
        assert torch.equal(again["off"], again["base"])


def check_record(out: Path, config: UnlearnConfig, base: Path) -> None:
    record, method = yaml.safe_load((out / "unlearning.yaml").read_text()), config.chosen
    assert (record["method"], record["kind"]) == (config.method, method.kind)
    assert dict(config.hyper_parameters).items() <= record["hyper_parameters"].items()
    assert record["base_model"]["name_or_path"] == str(base)
    assert record["forget"]["ids"]
    assert record["modalities"] == list(config.modality_set)
    training = record["training"]
    assert training["steps"] == (config.max_steps if method.trains else 0)
    assert all(math.isfinite(value) for value in training["final_losses"].values())
    assert bool(training["final_losses"]) == method.trains
    if method.trains:
        empty = AutoModelForImageTextToText.from_pretrained(base)
        trainable = method.trainable(context_of(config, empty))
        assert 0 < training["trainable_parameters"] <= trainable
        assert training["trainable_parameters"] == trainable or config.kind == "shira"
    text = (out / "README.md").read_text()
    assert f"`{config.method}`" in text
    assert all(f"{name} = " in text for name in config.hyper_parameters)
    assert "$" not in text
    names = {path.name for path in out.iterdir()}
    assert {"tokenizer.json", "README.md", "unlearning.yaml"} <= names
    assert not names & {"training_args.bin", "trainer_state.json"}
    assert ("config.json" in names) == (config.kind == "full")
    assert sorted(path.name for path in out.parent.glob("*checkpoints*")) == []


def check_moved(out: Path, config: UnlearnConfig, base: Path, weights: dict[str, torch.Tensor]) -> None:
    """Only what the method declares."""
    start = AutoModelForImageTextToText.from_pretrained(base)
    declared = set(config.chosen.places(context_of(config, start)))
    before = dict(start.named_parameters())
    if config.kind == "full":
        after = dict(AutoModelForImageTextToText.from_pretrained(out).named_parameters())
        moved = {name.rpartition(".")[0] for name in before if not torch.equal(before[name], after[name])}
        assert moved
        assert moved <= declared
        return
    plain = {n.removeprefix("base_model.model.").replace(".base_layer", ""): w for n, w in weights.items()}
    assert all(torch.equal(plain[name], value) for name, value in before.items())
    assert read_adapter(out).base_model == str(base)
    stored = load_file(out / "adapter_model.safetensors")
    carrying = {n.removeprefix("base_model.model.").partition(f".{config.kind}_")[0] for n in stored}
    assert carrying <= declared
    assert carrying == declared or config.kind != "lora"


@pytest.mark.parametrize("method", TRAINED)
def test_equal_seeds_give_equal_results(method, unlearned):
    one, two = (unlearned(method, "llava")[0] for _ in range(2))
    (file,) = [path.name for path in one.glob("*.safetensors")]
    first, second = load_file(one / file), load_file(two / file)
    assert first.keys() == second.keys()
    assert all(torch.equal(first[name], second[name]) for name in first)
    records = [yaml.safe_load((folder / "unlearning.yaml").read_text()) for folder in (one, two)]
    for record in records:
        record["training"] = record["training"]["losses"]  # seconds and memory differ
    assert records[0] == records[1]


def test_a_prompt_changes_no_weights(bases, data, tmp_path):
    base = bases("llava")
    argv = ["--method", "prompting", "--model_name_or_path", str(base), "--data", str(data), "--forget_ratio", "5"]
    out = run.unlearn(parse(UnlearnConfig, [*argv, "--output_dir", str(tmp_path / "out"), "--use_cpu"]))
    assert sorted(path.name for path in out.iterdir()) == ["README.md", "unlearning.yaml"]
    assert yaml.safe_load((out / "unlearning.yaml").read_text())["system_prompt"]


@pytest.mark.parametrize("method", TRAINED)
def test_dry_run_names_the_work(method, unlearned, monkeypatch, capsys):
    monkeypatch.setattr(run.base_model, "load_model", None)
    out, *_ = unlearned(method, "llava", "--dry_run")
    shown = capsys.readouterr().out
    assert methods.get(method).formula in shown
    assert "forget, 17 retain" in shown
    assert ("trained 0 " in shown) == (not methods.get(method).trains)
    assert ("\nsteps " in shown) == ("\nlearning rate " in shown) == methods.get(method).trains
    assert not out.exists()
