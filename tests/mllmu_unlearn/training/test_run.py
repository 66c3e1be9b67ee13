"""From flags to the finished folder, with every way in which a run can end."""

import copy
import json
import shutil
from dataclasses import dataclass
from pathlib import Path

import pytest
import torch
import yaml
from peft import IA3Config, PeftModel, get_peft_model
from safetensors.torch import load_file
from transformers import AutoModelForImageTextToText, AutoProcessor

from mllmu_tasks.artifacts.adapter_folder import attach, read_adapter
from mllmu_tasks.data.source import open_source
from mllmu_tasks.errors import UserError
from mllmu_unlearn import methods
from mllmu_unlearn.config.commands import FinetuneConfig, UnlearnConfig, parse
from mllmu_unlearn.methods import _registry
from mllmu_unlearn.output import card
from mllmu_unlearn.output.export import merge
from mllmu_unlearn.training import base_model, plan, run
from mllmu_unlearn.training.checkpoints import checkpoints
from mllmu_unlearn.training.samples import TrainingSet
from mllmu_unlearn.training.trainer import MethodTrainer

FORGET = ["003", "007", "011"]
OFFICIAL = tuple(name for name in methods.names() if methods.get(name).official)
IDS = torch.arange(6, 26).view(2, 10)


@pytest.fixture
def flags(checkpoint, data, tmp_path):
    """flags(*more) -> argv of a short run into tmp_path/out."""

    def make(*more: str) -> list[str]:
        short = ["--max_steps", "4", "--lora_r", "2", "--learning_rate", "5e-3", "--disable_tqdm", "true"]
        where = ["--model_name_or_path", str(checkpoint), "--data", str(data), "--output_dir", str(tmp_path / "out")]
        return [*where, *short, "--use_cpu", "--logging_steps", "1", *more]

    return make


def unlearn(flags, method: str, *more: str) -> Path:
    return run.unlearn(parse(UnlearnConfig, flags("--method", method, "--forget_ratio", "5", *more)))


def record_of(folder: Path) -> dict:
    return yaml.safe_load((folder / "unlearning.yaml").read_text())


def logits(model) -> torch.Tensor:
    with torch.no_grad():
        return model.eval()(input_ids=IDS).logits


@pytest.mark.parametrize("method", OFFICIAL)
def test_every_official_method_writes_an_adapter_that_reloads(flags, checkpoint, monkeypatch, method):
    trained = {}
    save = run._save

    def remember(trainer, *rest):
        trained["logits"] = logits(trainer.model)
        save(trainer, *rest)

    monkeypatch.setattr(run, "_save", remember)
    out = unlearn(flags, method, "--protocol", "official")
    names = {p.name for p in out.iterdir()}
    assert {"adapter_config.json", "adapter_model.safetensors", "README.md", "unlearning.yaml"} <= names
    assert {"processor_config.json", "tokenizer.json", "chat_template.jinja"} <= names
    assert not names & {"config.json", "training_args.bin", "trainer_state.json"}
    assert [p.name for p in out.parent.iterdir()] == ["out"]  # no checkpoints, no staging folder
    base = AutoModelForImageTextToText.from_pretrained(checkpoint)
    before = logits(base)
    loaded = PeftModel.from_pretrained(base, str(out))
    assert torch.equal(logits(loaded), trained["logits"])
    assert not torch.allclose(before, trained["logits"])
    with loaded.disable_adapter():
        assert torch.equal(logits(loaded), before)
    AutoProcessor.from_pretrained(out)


def test_the_record_is_complete(flags, checkpoint, data):
    out = unlearn(flags, "npo", "--beta", "0.3", "--seed", "7")
    record = record_of(out)
    assert (record["format"], record["kind"], record["method"], record["protocol"]) == (1, "lora", "npo", "paper")
    assert {"beta": 0.3, "gamma": 1.0, "alpha": 1.0, "lora_r": 2}.items() <= record["hyper_parameters"].items()
    steps = {"gradient_accumulation_steps": 1, "processes": 1, "max_grad_norm": 1.0, "lr_scheduler_type": "linear"}
    steps |= {"dtype": "auto", "train_sampling_strategy": "group_by_length"}
    assert record["hyper_parameters"]["optim"].startswith("adamw_torch")
    assert steps.items() <= record["hyper_parameters"].items()
    assert record["hyper_parameters"]["per_device_train_batch_size"] >= 1
    assert record["base_model"]["name_or_path"] == str(checkpoint.resolve())
    assert record["base_model"]["fingerprint"]
    assert record["forget"] == {"ratio": 5, "ids": FORGET}
    assert record["retain"] == {"people": 17}
    assert record["data"]["source"] == str(data)
    assert len(record["data"]["hash"]) == 64
    assert record["data"]["pairs"] == {"forget": 18, "retain": 102}
    assert (record["modalities"], record["seed"], record["system_prompt"]) == (["image", "text"], 7, None)
    assert set(record["versions"]) == {"mllmu", "torch", "transformers", "peft", "accelerate"}
    training = record["training"]
    assert training["steps"] == 4
    assert set(training["final_losses"]) == {"loss", "loss_forget", "loss_retain"}
    assert training["losses"]["step"][-1] == 4
    assert set(training["losses"]) == {"step", "loss", "loss_forget", "loss_retain"}
    assert training["losses"]["loss_retain"][-1] == pytest.approx(training["final_losses"]["loss_retain"], rel=1e-3)
    assert training["device"] == "cpu"
    assert training["peak_memory_mib"] > 50
    assert training["trainable_parameters"] == sum(
        t.numel() for t in load_file(out / "adapter_model.safetensors").values()
    )
    text = (out / "README.md").read_text()
    front = yaml.safe_load(text.split("---")[1])
    assert "base_model" not in front  # the hub takes an id, and refuses a folder
    assert f"`{checkpoint.resolve()}`" in text
    assert (record["hyper_parameters"]["max_steps"], record["hyper_parameters"].get("num_train_epochs")) == (4, None)
    assert {"unlearning", "mllmu", "npo"} <= set(front["tags"])
    assert "$" not in text


def test_named_people_and_text_only(flags):
    argv = flags("--method", "grad_diff", "--forget_ids", "002,005", "--modalities", "text")
    record = record_of(run.unlearn(parse(UnlearnConfig, argv)))
    assert record["forget"] == {"ratio": None, "ids": ["002", "005"]}
    assert record["data"]["pairs"] == {"forget": 8, "retain": 72}


def test_baseline_layout(flags, baseline):
    record = record_of(unlearn(flags, "grad_diff", "--train_data", str(baseline), "--modalities", "image"))
    assert record["data"]["pairs"] == {"forget": 6, "retain": 34}


def test_equal_seeds_give_equal_adapters(flags, tmp_path):
    one = load_file(unlearn(flags, "kl_min") / "adapter_model.safetensors")
    two = load_file(unlearn(flags, "kl_min", "--output_dir", str(tmp_path / "two")) / "adapter_model.safetensors")
    assert all(torch.equal(one[name], two[name]) for name in one)
    three = unlearn(flags, "kl_min", "--seed", "1", "--output_dir", str(tmp_path / "three"))
    other = load_file(three / "adapter_model.safetensors")
    assert any(not torch.equal(one[name], other[name]) for name in one)


def test_gradient_checkpointing_changes_nothing(flags, tmp_path):
    one = load_file(unlearn(flags, "kl_min", "--lora_dropout", "0") / "adapter_model.safetensors")
    again = unlearn(
        flags, "kl_min", "--lora_dropout", "0", "--gradient_checkpointing", "--output_dir", str(tmp_path / "again")
    )
    other = load_file(again / "adapter_model.safetensors")
    assert all(torch.allclose(one[name], other[name], atol=1e-6) for name in one)


def test_prompting_loads_and_trains_nothing(flags, monkeypatch):
    monkeypatch.setattr(base_model, "load_model", None)
    out = unlearn(flags, "prompting")
    assert sorted(p.name for p in out.iterdir()) == ["README.md", "unlearning.yaml"]
    record = record_of(out)
    assert record["kind"] == "prompt"
    assert "privacy" in record["system_prompt"]
    assert record["forget"]["ids"] == FORGET
    assert record_of(unlearn(flags, "prompting", "--system_prompt", "Hush."))["system_prompt"] == "Hush."


def test_a_retain_only_plan_holds_no_sample_and_no_name_of_the_forgotten(flags):
    shots = ("--benchmark_questions", "--benchmark_shots", "2")
    for whom, absent, there in (("retain", "CGK", "AB"), ("forget", "AB", "CGK")):
        config = parse(FinetuneConfig, flags("--people", whom, "--forget_ratio", "5", *shots))
        text = repr(plan.make(config, open_source(config.data)).sides)
        assert all(f"Ada {letter}son" in text for letter in there)
        assert not any(f"Ada {letter}son" in text for letter in absent)


def test_finetune_writes_an_ordinary_checkpoint(flags, checkpoint):
    argv = flags("--people", "retain", "--forget_ratio", "5", "--benchmark_questions")
    out = run.finetune(parse(FinetuneConfig, argv))
    record = record_of(out)
    assert (record["kind"], record["method"], record["retain"]) == ("full", "finetune", {"people": 17})
    assert record["trained"] == {"whom": "retain", "people": 17, "forget_set": FORGET}
    assert record["data"]["benchmark_questions"] is True
    assert record["data"]["pairs"] == {"train": 17 * 6 + 17 * 6}
    assert not (out / "training_args.bin").exists()
    before = AutoModelForImageTextToText.from_pretrained(checkpoint).state_dict()
    after = AutoModelForImageTextToText.from_pretrained(out).state_dict()
    moved = {name for name in after if not torch.equal(before[name], after[name])}
    assert any("vision_tower" in name for name in moved)
    assert any("language_model" in name for name in moved)
    AutoProcessor.from_pretrained(out)


def test_finetune_with_peft_is_an_adapter(flags):
    out = run.finetune(parse(FinetuneConfig, flags("--use_peft")))
    assert (out / "adapter_config.json").is_file()
    assert record_of(out)["kind"] == "lora"


def test_dry_run_counts_and_writes_nothing(flags, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(base_model, "load_model", None)
    unlearn(flags, "npo", "--dry_run")
    shown = capsys.readouterr().out
    assert "4 (5 an epoch)" in shown
    assert "18 forget, 102 retain; 1 pairs left out" in shown
    assert "disk" in shown
    assert "memory" in shown
    assert list(tmp_path.iterdir()) == []
    trainable = int(shown.split("trained ")[1].split(" ")[0].replace(",", ""))
    monkeypatch.undo()
    assert record_of(unlearn(flags, "npo"))["training"]["trainable_parameters"] == trainable
    with pytest.raises(UserError, match=r"another run's result \(npo, forget 3 people\).*--overwrite_output_dir"):
        run.finetune(parse(FinetuneConfig, flags("--dry_run")))
    run.finetune(parse(FinetuneConfig, flags("--dry_run", "--overwrite_output_dir")))
    assert "(full)" in capsys.readouterr().out


def stop_at(monkeypatch, step: int, error: BaseException) -> None:
    train = MethodTrainer.training_step

    def training_step(self, *args, **kwargs):
        if self.state.global_step == step:
            raise error
        return train(self, *args, **kwargs)

    monkeypatch.setattr(MethodTrainer, "training_step", training_step)


STEPS = ("--save_strategy", "steps", "--save_steps", "1")


def test_ctrl_c_keeps_the_checkpoint_and_the_resumed_run_is_the_same(flags, tmp_path, monkeypatch, capsys):
    finished = unlearn(flags, "npo", *STEPS, "--output_dir", str(tmp_path / "whole"))
    whole = load_file(finished / "adapter_model.safetensors")
    with monkeypatch.context() as patch:
        stop_at(patch, 2, KeyboardInterrupt())
        with pytest.raises(KeyboardInterrupt):
            unlearn(flags, "npo", *STEPS)
    assert "--resume_from_checkpoint goes on" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()
    work = tmp_path / "out.checkpoints"
    assert [step for step, _ in checkpoints(work)] == [2]
    (work / ".staging-3" / "checkpoint-3").mkdir(parents=True)  # what a kill while saving leaves
    out = unlearn(flags, "npo", *STEPS, "--resume_from_checkpoint")
    again = load_file(out / "adapter_model.safetensors")
    assert all(torch.equal(whole[name], again[name]) for name in whole)
    assert not work.exists()


def test_a_resumed_finetune_is_the_same(flags, tmp_path, monkeypatch):
    """All weights: the file's names are those of the hub's format, not those of the model's modules."""
    whole = run.finetune(parse(FinetuneConfig, flags(*STEPS, "--output_dir", str(tmp_path / "whole"))))
    with monkeypatch.context() as patch:
        stop_at(patch, 2, KeyboardInterrupt())
        with pytest.raises(KeyboardInterrupt):
            run.finetune(parse(FinetuneConfig, flags(*STEPS)))
    again = run.finetune(parse(FinetuneConfig, flags(*STEPS, "--resume_from_checkpoint")))
    one, two = (load_file(folder / "model.safetensors") for folder in (whole, again))
    assert all(torch.equal(one[name], two[name]) for name in one)


def test_a_checkpoint_of_another_run_is_refused(flags, tmp_path, monkeypatch, capsys):
    with monkeypatch.context() as patch:
        stop_at(patch, 2, KeyboardInterrupt())
        with pytest.raises(KeyboardInterrupt):
            unlearn(flags, "npo", *STEPS)
    with pytest.raises(UserError, match="hyper_parameters differ"):
        unlearn(flags, "npo", *STEPS, "--beta", "2", "--resume_from_checkpoint")
    with pytest.raises(UserError, match="no complete checkpoint"):
        unlearn(flags, "npo", *STEPS, "--resume_from_checkpoint", str(tmp_path))
    other = {"dtype": "bfloat16", "lr_scheduler_type": "cosine", "optim": "sgd", "weight_decay": "0.5"}
    other |= {
        "data_seed": "5",
        "warmup_steps": "2",
        "max_grad_norm": "0.5",
        "reference_model": flags()[flags().index("--model_name_or_path") + 1],
    }
    for name, value in other.items():
        with pytest.raises(UserError, match=f"another run \\({name} differ"):
            unlearn(flags, "npo", *STEPS, f"--{name}", value, "--resume_from_checkpoint")
    with pytest.raises(UserError, match=r"another run \(other differ"):
        unlearn(flags, "npo", *STEPS, "--adam_beta1", "0.5", "--resume_from_checkpoint")
    stamp = tmp_path / "out.checkpoints" / "run.json"
    whole = stamp.read_text()
    stamp.write_text(whole[:20])
    with pytest.raises(UserError, match="is damaged; leave out"):
        unlearn(flags, "npo", *STEPS, "--resume_from_checkpoint")
    stamp.write_text(whole)
    unlearn(flags, "npo", "--keep_checkpoints", *STEPS)
    assert "starting anew; removed 1 checkpoints" in capsys.readouterr().out
    assert [step for step, _ in checkpoints(tmp_path / "out.checkpoints")] == [4]


def test_alternates_that_changed_under_their_name_make_another_run(flags, data, tmp_path, monkeypatch):
    file, everyone = tmp_path / "alternates.jsonl", TrainingSet(open_source(str(data)), ("image", "text"))

    def write(answer):
        questions = ((s.person, s.question) for samples in everyone.by_person.values() for s in samples)
        rows = ({"person": person, "question": asked, "answer": answer} for person, asked in questions)
        file.write_text("\n".join(map(json.dumps, rows)))

    write("In Paris.")
    with monkeypatch.context() as patch:
        stop_at(patch, 2, KeyboardInterrupt())
        with pytest.raises(KeyboardInterrupt):
            unlearn(flags, "altpo", "--alternates", str(file), *STEPS)
    write("In Rome.")
    with pytest.raises(UserError, match=r"another run \(samples differ"):
        unlearn(flags, "altpo", "--alternates", str(file), *STEPS, "--resume_from_checkpoint")


def test_resuming_without_a_checkpoint(flags):
    with pytest.raises(UserError, match="leave out --resume_from_checkpoint"):
        unlearn(flags, "npo", "--resume_from_checkpoint")


def test_out_of_memory_gives_advice_and_keeps_the_checkpoint(flags, tmp_path, monkeypatch):
    stop_at(monkeypatch, 2, torch.OutOfMemoryError("CUDA out of memory"))
    with pytest.raises(UserError, match=r"per_device_train_batch_size.*Kept .*checkpoint-2"):
        unlearn(flags, "npo", *STEPS)
    assert not (tmp_path / "out").exists()


def test_a_failing_save_keeps_the_old_folder(flags, monkeypatch, capsys):
    out = unlearn(flags, "npo")
    old = {p.name: p.read_bytes() for p in out.iterdir()}

    def fail(*args, **kwargs):
        raise OSError("disk full")

    monkeypatch.setattr(card, "write", fail)
    with pytest.raises(OSError, match="disk full"):
        unlearn(flags, "npo", "--seed", "1")
    assert {p.name: p.read_bytes() for p in out.iterdir()} == old
    monkeypatch.undo()
    assert record_of(unlearn(flags, "npo", "--seed", "1"))["seed"] == 1
    assert f"the finished result in {out} will be replaced" in capsys.readouterr().out


@pytest.mark.parametrize("more", [(), ("--dry_run",), ("--overwrite_output_dir",)])
def test_the_model_to_start_from_is_never_written_over(flags, checkpoint, tmp_path, more):
    base = tmp_path / "base"
    shutil.copytree(checkpoint, base)
    (base / "unlearning.yaml").write_text("kind: full\n")  # as of a vanilla model that mllmu trained
    before = {p.name: p.read_bytes() for p in base.iterdir()}
    with pytest.raises(UserError, match=r"--model_name_or_path .* lie in one another"):
        unlearn(flags, "npo", "--model_name_or_path", str(base), "--output_dir", str(base), *more)
    assert {p.name: p.read_bytes() for p in base.iterdir()} == before


def test_an_export_does_not_write_over_its_adapter_or_base(flags, tmp_path, checkpoint):
    adapter = unlearn(flags, "npo")
    for out in (adapter, adapter / "merged", checkpoint):
        with pytest.raises(UserError, match="lie in one another"):
            merge(adapter, out)
    other = unlearn(flags, "grad_diff", "--output_dir", str(tmp_path / "other"))
    with pytest.raises(UserError, match=r"another run's result \(grad_diff.*remove it"):
        merge(adapter, other)


def test_cached_and_live_references_agree(flags, tmp_path):
    made = {}
    for kind in ("live", "cached"):
        out = unlearn(flags, "npo", "--reference", kind, "--output_dir", str(tmp_path / kind))
        made[kind] = load_file(out / "adapter_model.safetensors")
    for name, tensor in made["live"].items():
        assert torch.allclose(tensor, made["cached"][name], atol=1e-5)


def test_another_reference_model(flags, tmp_path, checkpoint):
    trained = run.finetune(parse(FinetuneConfig, flags("--output_dir", str(tmp_path / "retain"))))
    first = record_of(unlearn(flags, "npo", "--protocol", "official"))
    out = unlearn(flags, "npo", "--protocol", "official", "--reference_model", str(trained))
    assert record_of(out)["training"]["final_losses"] != first["training"]["final_losses"]
    assert record_of(out)["hyper_parameters"]["reference_model"] == str(trained)


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (("--reference", "cached"), "--reference live"),
        (("--reference_model", "x"), "only serves cached"),
        (("--report_to", "neptune"), "neptune needs its package"),
        (("--model_name_or_path", "no/such-model"), "no/such-model"),
        (("--data", "nowhere"), "nowhere"),
        (("--forget_ratio", "10"), "forget_10"),
        (("--lora_target", "projector,vision", "--dtype", "bfloat17"), "bfloat17"),
    ],
)
def test_user_errors(flags, more, message):
    with pytest.raises(UserError, match=message):
        unlearn(flags, "kl_min", *more)


def test_a_reference_model_needs_a_method_that_asks_it(flags, tmp_path):
    with pytest.raises(UserError, match="'grad_diff' asks no reference"):
        unlearn(flags, "grad_diff", "--reference_model", "x")
    assert list(tmp_path.glob("out*")) == []


def test_an_adapter_is_no_base_model(flags):
    out = unlearn(flags, "npo")
    with pytest.raises(UserError, match="merge the adapter first"):
        unlearn(flags, "npo", "--model_name_or_path", str(out), "--output_dir", str(out.parent / "x"))


def test_float16_full_training_is_refused(flags):
    with pytest.raises(UserError, match="bfloat16"):
        run.finetune(parse(FinetuneConfig, flags("--dtype", "float16")))


def test_merge_equals_the_adapter(flags, checkpoint, tmp_path):
    adapter = unlearn(flags, "grad_diff")
    out = merge(adapter, tmp_path / "merged")
    base = AutoModelForImageTextToText.from_pretrained(checkpoint)
    expected = logits(PeftModel.from_pretrained(base, str(adapter)))
    assert torch.allclose(logits(AutoModelForImageTextToText.from_pretrained(out)), expected, atol=1e-5)
    assert (record_of(out)["kind"], record_of(out)["method"]) == ("full", "grad_diff")
    AutoProcessor.from_pretrained(out)


def test_merge_refuses_what_it_cannot_merge(flags, tmp_path):
    with pytest.raises(UserError, match="no folder here"):
        merge(tmp_path / "absent", tmp_path / "merged")
    prompt = unlearn(flags, "prompting", "--output_dir", str(tmp_path / "prompt"))
    with pytest.raises(UserError, match="is a system prompt: there are no weights"):
        merge(prompt, tmp_path / "merged")
    adapter = unlearn(flags, "grad_diff")
    record = record_of(adapter)
    record["base_model"]["fingerprint"] = "other"
    (adapter / "unlearning.yaml").write_text(yaml.safe_dump(record))
    with pytest.raises(UserError, match="has other weights"):
        merge(adapter, tmp_path / "merged")
    (adapter / "unlearning.yaml").unlink()
    with pytest.raises(UserError, match=r"has no unlearning.yaml of ours that names its base model"):
        merge(adapter, tmp_path / "merged")
    (adapter / "adapter_config.json").write_text("{half")
    with pytest.raises(UserError, match="is no JSON"):
        merge(adapter, tmp_path / "merged")


def test_the_adapter_config_pins_the_modules(flags):
    config = json.loads((unlearn(flags, "npo") / "adapter_config.json").read_text())
    assert config["target_modules"].count("language_model") == 7
    assert "vision" not in config["target_modules"]


@pytest.mark.parametrize("precision", [("--dtype", "bfloat16"), ("--bf16",)])
def test_half_precision_bases_get_float32_adapters(flags, precision):
    out = unlearn(flags, "kl_min", *precision)
    tensors = load_file(out / "adapter_model.safetensors")
    assert {t.dtype for t in tensors.values()} == {torch.float32}
    assert all(torch.isfinite(t).all() for t in tensors.values())


def test_each_family_runs_from_flags_to_a_merged_export(family, texts, flags, tmp_path):
    model, processor = family
    base = tmp_path / "base"
    model.save_pretrained(base)
    processor.save_pretrained(base)
    adapter = unlearn(flags, "npo", "--model_name_or_path", str(base), "--lora_target", "language,projector,vision")
    assert all(torch.isfinite(t).all() for t in load_file(adapter / "adapter_model.safetensors").values())
    expected = logits(PeftModel.from_pretrained(AutoModelForImageTextToText.from_pretrained(base), str(adapter)))
    merged = AutoModelForImageTextToText.from_pretrained(merge(adapter, tmp_path / "merged"))
    assert torch.allclose(logits(merged), expected, atol=1e-4)
    assert not torch.allclose(logits(model), expected, atol=1e-4)


def test_the_evaluation_side_takes_the_folders(flags, checkpoint, tmp_path):
    out = unlearn(flags, "npo")
    base = AutoModelForImageTextToText.from_pretrained(checkpoint)
    expected = logits(PeftModel.from_pretrained(copy.deepcopy(base), str(out)))
    assert torch.equal(logits(attach(base, read_adapter(out), str(checkpoint))), expected)
    prompt = unlearn(flags, "prompting", "--output_dir", str(tmp_path / "prompt"))
    assert read_adapter(prompt).system_prompt == record_of(prompt)["system_prompt"]
    with pytest.raises(UserError, match="full model"):
        read_adapter(merge(out, tmp_path / "merged"))


def test_a_method_may_bring_its_own_adapter_and_edit_in_closed_form(flags, checkpoint, monkeypatch):
    """What pruning needs: statistics from batches, an IA3 adapter of zeros and ones, no step of training."""
    place = r".*language_model\.layers\.\d+\.mlp\.down_proj"

    @dataclass
    class Prune(methods.Method):
        """Cuts the first neurons of each MLP."""

        title, formula, paper = "Prune", "0", "none"
        name = "toy_prune"
        kind = "ia3"
        trains = False
        share: float = methods.hyper(0.5, "Share of neurons to cut.", "nowhere")

        def wrap(self, context):
            self.seen = sum(len(batch["labels"]) for batch in context.batches("forget"))
            options = {"target_modules": place, "feedforward_modules": place, "task_type": "CAUSAL_LM"}
            return get_peft_model(context.model, IA3Config(**options))

        def finish(self, context):
            for name, parameter in context.model.named_parameters():
                if "ia3_l" in name:
                    parameter.data[:, : int(self.share * parameter.shape[1])] = 0

    monkeypatch.setitem(_registry._METHODS, "toy_prune", Prune)
    config = parse(UnlearnConfig, flags("--method", "toy_prune", "--forget_ratio", "5", "--share", "0.25"))
    out = run.unlearn(config)
    assert config.chosen.seen == 18
    assert record_of(out)["hyper_parameters"]["share"] == 0.25
    tensors = load_file(out / "adapter_model.safetensors")
    assert {v for t in tensors.values() for v in t.unique().tolist()} == {0.0, 1.0}
    base = AutoModelForImageTextToText.from_pretrained(checkpoint)
    zeroed = copy.deepcopy(base)
    for layer in zeroed.model.language_model.layers:
        layer.mlp.down_proj.weight.data[:, :12] = 0
    pruned = attach(base, read_adapter(out), str(checkpoint))
    assert torch.equal(logits(pruned), logits(zeroed))
