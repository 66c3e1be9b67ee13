"""Each field of `TrainingArguments` works or is refused in one sentence before anything is loaded."""

import hashlib
from dataclasses import fields
from enum import Enum
from typing import get_type_hints

import pytest
from transformers import TrainingArguments

from mllmu_tasks.errors import UserError
from mllmu_unlearn.config import options, training_flags
from mllmu_unlearn.config.check_numbers import LARGEST_SEED
from mllmu_unlearn.config.commands import UnlearnConfig, parse
from mllmu_unlearn.config.training_flags import LIMITED, NEEDS, REFUSED, WORKS
from mllmu_unlearn.training import run

NAMES = [field.name for field in fields(TrainingArguments)]
HINTS = get_type_hints(TrainingArguments)
BASE = ["--method", "npo", "--forget_ratio", "5", "--model_name_or_path", "no/model", "--output_dir", "o"]
GIVEN = {  # a value of each flag that has one like no other
    "deepspeed": "zero.json",
    "fsdp": "full_shard",
    "eval_strategy": "steps",
    "hub_strategy": "end",
    "include_num_input_tokens_seen": "true",
    "dataloader_multiprocessing_context": "fork",
    "accelerator_config": '{"split_batches": true}',
    "liger_kernel_config": '{"rope": true}',
    "include_for_metrics": "loss",
}
UNREADABLE = ("parallelism_config", "liger_kernel_config")
"""Of a type that no command line can give."""
PARTNER = {  # what a flag needs beside it
    "run_name": ("--report_to", "tensorboard"),
    "save_steps": ("--save_strategy", "steps"),
    "dataloader_persistent_workers": ("--dataloader_num_workers", "1"),
    "dataloader_prefetch_factor": ("--dataloader_num_workers", "1"),
    "gradient_checkpointing_kwargs": ("--gradient_checkpointing", "true"),
    "activation_checkpointing_kwargs": ("--activation_checkpointing", "true"),
    "optim_args": ("--optim", "sgd"),
    "lr_scheduler_kwargs": ("--lr_scheduler_type", "cosine"),
    "bf16": ("--use_cpu", "true"),
    "fp16": ("--dry_run",),
    "ddp_backend": ("--accelerate_config", "ddp"),
}
WORKING = {
    "lr_scheduler_kwargs": '{"num_cycles": 0.3}',
    "optim_args": "momentum=0.9",
    "gradient_checkpointing_kwargs": '{"use_reentrant": false}',
    "activation_checkpointing_kwargs": '{"use_reentrant": false}',
    "logging_strategy": "epoch",
    "log_level": "error",
    "log_level_replica": "error",
    "report_to": "tensorboard",
    "train_sampling_strategy": "random",
    "ddp_backend": "gloo",
    "adam_beta1": "0.5",
    "adam_beta2": "0.5",
    "tf32": "false",
}


def made(*flags: str) -> UnlearnConfig:
    return parse(UnlearnConfig, [*BASE, *flags])


def another(name: str) -> str:
    """A value that is not the default, as on the command line."""
    default = getattr(made(), name)
    kinds = str(HINTS[name])
    if "bool" in kinds and "str" not in kinds:
        return str(not default).lower()
    if "int" in kinds or "float" in kinds:
        return str((default or 0) + 2)
    return "x"


def test_each_field_stands_in_one_table():
    """A new release of Transformers with a new field fails here: look what it does, and put it where it belongs."""
    stands = [*WORKS, *LIMITED, *REFUSED]
    assert sorted(set(NAMES) - set(stands)) == []
    assert len(stands) == len(set(stands))
    assert set(NEEDS) <= set(WORKS)


@pytest.mark.parametrize("name", [name for name in NAMES if name in REFUSED])
def test_a_refused_flag_is_refused_with_its_reason(name):
    with pytest.raises(UserError) as refusal:
        made(f"--{name}", GIVEN.get(name) or another(name))
    sentence = str(refusal.value)
    assert f"--{name}" in sentence
    assert REFUSED[name] in sentence or name in UNREADABLE
    assert "\n" not in sentence


@pytest.mark.parametrize("name", [name for name in NAMES if name in WORKS and name != "output_dir"])
def test_a_flag_that_works_arrives(name):
    value = WORKING.get(name) or another(name)
    config, plain = made(f"--{name}", value, *PARTNER.get(name, ())), made(*PARTNER.get(name, ()))
    twin = name.replace("gradient_checkpointing", "activation_checkpointing")
    twin = twin if twin in NAMES else name
    assert getattr(config, twin) != getattr(plain, twin)


@pytest.mark.parametrize("name", sorted(LIMITED))
def test_of_a_limited_flag_each_value_is_taken_or_refused_in_a_sentence(name):
    known, reason = LIMITED[name]
    kind = next((part for part in getattr(HINTS[name], "__args__", ()) if issubclass(part, Enum)), None)
    values = [member.value for member in kind] if kind else ["underflow_overflow", "tpu_metrics_debug"]
    said = {value: sentence_for(f"--{name}", value) for value in values}
    assert all("\n" not in sentence for sentence in said.values())
    assert [value for value in values if reason in said[value]] == [value for value in values if value not in known]
    assert sum(not sentence for sentence in said.values()) >= len(known) // 2  # others need packages or arguments


def sentence_for(*flags: str) -> str:
    """The refusal, empty if there is none."""
    try:
        made(*flags)
    except UserError as refusal:
        return str(refusal)
    return ""


def test_an_unknown_field_with_a_value_is_refused(monkeypatch):
    monkeypatch.setattr(training_flags, "WORKS", tuple(name for name in WORKS if name != "warmup_steps"))
    made()
    with pytest.raises(UserError, match=r"--warmup_steps 3\.0 has no place here: .* does not know"):
        made("--warmup_steps", "3")


@pytest.mark.parametrize("name", [f.name for f in fields(UnlearnConfig) if "float" in str(f.type)])
@pytest.mark.parametrize("value", ["nan", "inf", "-inf"])
def test_no_float_is_nan_or_infinite(name, value):
    with pytest.raises(UserError, match=name):
        made(f"--{name}={value}")


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--seed", "99999999999"], f"seed is 99999999999; it must be a number, 0 to {LARGEST_SEED}"),
        (["--seed", "9" * 5000], "seed"),
        (["--learning_rate", "9" * 5000], "learning_rate is inf"),
        (["--data_seed", str(LARGEST_SEED + 1)], "data_seed"),
        (["--max_steps", "0"], "max_steps is 0"),
        (["--max_steps", "-2"], "max_steps is -2"),
        (["--logging_steps", "1.5"], "whole from 1 on"),
        (["--adam_beta1", "1"], "adam_beta1 is 1.0; it must be a number, 0 or more and below 1"),
        (["--dataloader_num_workers", "-1"], "dataloader_num_workers is -1"),
        (["--dataloader_persistent_workers"], "needs --dataloader_num_workers"),
        (["--dataloader_prefetch_factor", "2"], "dataloader_num_workers"),
        (["--save_steps", "5"], "--save_steps needs --save_strategy steps"),
        (["--logging_steps", "5", "--logging_strategy", "epoch"], "--logging_steps needs --logging_strategy steps"),
        (["--run_name", "x"], "--run_name needs --report_to"),
        (["--gradient_checkpointing_kwargs", '{"use_reentrant": true}'], "needs --gradient_checkpointing"),
        (["--gradient_checkpointing", "--gradient_checkpointing_kwargs", '{"use_reentrent": 1}'], "'use_reentrant'"),
        (["--gradient_checkpointing", "--gradient_checkpointing_kwargs", "file.json"], "no JSON object"),
        (["--gradient_checkpointing", "--gradient_checkpointing_kwargs", "[" * 9], "no JSON object"),
        (["--lr_scheduler_type", "cosine", "--lr_scheduler_kwargs", "{" * 20_000], "."),
        (["--lr_scheduler_type", "cosine", "--lr_scheduler_kwargs", '{"num_cycle": 1}'], "num_cycle"),
        (["--lr_scheduler_type", "cosine", "--lr_scheduler_kwargs", '{"num_cycles": NaN}'], "must be finite"),
        (["--lr_scheduler_type", "cosine_with_min_lr"], "min_lr"),
        (["--lr_scheduler_type", "warmup_stable_decay"], "num_decay_steps"),
        (["--lr_scheduler_type", "constant", "--warmup_steps", "5"], "constant does not read --warmup_steps"),
        (["--optim", "sgd", "--adam_beta1", "0.5"], "sgd does not read --adam_beta1"),
        (["--optim", "sgd", "--optim_args", "momentun=0.9"], "sgd does not read 'momentun'"),
        (["--optim", "sgd", "--optim_args", "momentum"], "cannot be used"),
        (["--optim_args", "momentum=0.9"], "adamw_torch_fused does not read 'momentum'"),
        (
            ["--protocol", "official", "--method", "grad_diff", "--lr_scheduler_type", "cosine"],
            "its own learning rate schedule",
        ),
        (["--save_strategy", "best"], "no checkpoint is the best"),
        (["--hub_token", "hf_secret"], "^--hub_token has no place here"),
        (["--fp16", "--use_cpu"], "--fp16 does nothing without a GPU"),
        (["--ddp_backend", "gloo"], "--ddp_backend is for several processes"),
        (["--run_name"], "expected one argument"),
    ],
)
def test_what_cannot_work_is_one_sentence(flags, message):
    with pytest.raises(UserError, match=message) as refusal:
        made(*flags)
    assert len(str(refusal.value)) < 900


def test_wandb_needs_a_key_before_the_model_is_loaded(monkeypatch, tmp_path):
    for name in ("WANDB_MODE", "WANDB_API_KEY", "WANDB_IDENTITY_TOKEN_FILE", "WANDB_BASE_URL"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    config = made("--report_to", "wandb")
    monkeypatch.setattr(options, "get_available_reporting_integrations", lambda: ["wandb"])
    with pytest.raises(UserError, match="WANDB_MODE=offline"):
        config.check_trackers()
    (tmp_path / "netrc").write_text("machine api.wandb.ai login user password x\n")
    config.check_trackers()
    (tmp_path / "netrc").unlink()
    monkeypatch.setenv("WANDB_MODE", "offline")
    config.check_trackers()


EFFECTS = {
    "learning_rate": ("1e-2",),
    "weight_decay": ("0.5",),
    "max_grad_norm": ("0.001",),
    "adam_beta1": ("0.1",),
    "adam_beta2": ("0.1",),
    "adam_epsilon": ("0.1",),
    "neftune_noise_alpha": ("50",),
    "seed": ("7",),
    "data_seed": ("7",),
    "warmup_steps": ("2",),
    "lr_scheduler_type": ("constant",),
    "optim": ("sgd",),
    "bf16": ("true",),
    "gradient_accumulation_steps": ("2",),
    "per_device_train_batch_size": ("1",),
    "train_sampling_strategy": ("random",),
}


@pytest.fixture
def weights(checkpoint, data, tmp_path):
    """weights(*flags) -> a hash of what was learnt."""

    def train(*flags: str) -> str:
        where = ["--model_name_or_path", str(checkpoint), "--data", str(data), "--output_dir", str(tmp_path / "out")]
        short = ["--max_steps", "3", "--lora_r", "2", "--use_cpu", "--disable_tqdm", "true", "--modalities", "text"]
        people = ["--method", "grad_diff", "--forget_ratio", "5", "--overwrite_output_dir"]
        out = run.unlearn(parse(UnlearnConfig, [*where, *short, *people, *flags]))
        return hashlib.sha256((out / "adapter_model.safetensors").read_bytes()).hexdigest()

    return train


def test_what_should_change_the_result_changes_it(weights):
    plain = weights()
    assert weights() == plain
    same = [name for name, values in EFFECTS.items() if weights(f"--{name}", *values) == plain]
    assert same == []


def test_what_only_shows_or_saves_changes_nothing(weights, tmp_path):
    flags = ["--gradient_checkpointing", "--gradient_checkpointing_kwargs", '{"use_reentrant": false}']
    flags += ["--logging_first_step", "--logging_strategy", "epoch", "--skip_memory_metrics", "false"]
    flags += ["--debug", "underflow_overflow"]
    flags += ["--save_strategy", "steps", "--save_steps", "1", "--torch_empty_cache_steps", "1"]
    flags += ["--dataloader_num_workers", "1", "--dataloader_persistent_workers", "--dataloader_prefetch_factor", "1"]
    assert weights(*flags) == weights()
