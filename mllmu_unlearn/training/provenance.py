"""What a run is, in plain facts: those that a checkpoint must share to be continued, and those of unlearning.yaml."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import fields
from enum import Enum
from pathlib import Path
from typing import Any

from mllmu_tasks.artifacts.identity import digest, weights_fingerprint
from mllmu_unlearn.config.commands import Config
from mllmu_unlearn.methods import code
from mllmu_unlearn.output import card
from mllmu_unlearn.toolbox.samples import Sample
from mllmu_unlearn.training.people import People
from mllmu_unlearn.training.plan import Plan, trained_on

STEP = (
    *("per_device_train_batch_size", "gradient_accumulation_steps", "optim", "lr_scheduler_type", "warmup_steps"),
    *("weight_decay", "max_grad_norm", "dtype", "bf16", "fp16", "train_sampling_strategy", "data_seed"),
)
"""What also decides what a run learns; on the card where it is neither 0 nor empty."""
RARE = (
    *("adam_beta1", "adam_beta2", "adam_epsilon", "optim_args", "lr_scheduler_kwargs", "neftune_noise_alpha"),
    *("tf32", "full_determinism"),
)
"""What decides it, too, and is seldom given; on the card where it is."""
POINTS = 200
"""At most so many logged steps are kept; every n-th then, and always the last one."""


def identity(config: Config, plan: Plan) -> dict[str, Any]:
    """What must be equal for a checkpoint to be continued; plain JSON."""
    return {
        "method": config.method,
        "method_code": code(type(config.chosen)),
        "protocol": config.protocol,
        "hyper_parameters": config.hyper_parameters,
        "model": plan.fingerprint,
        "data": plan.data_hash,
        "samples": {side: digest(map(_words, samples)) for side, samples in plan.sides.items()},
        "forget": list(plan.people.forget),
        "seed": config.seed,
        "data_seed": config.data_seed,
        "batch": [config.per_device_train_batch_size, config.gradient_accumulation_steps, config.world_size],
        "sampling": [config.train_sampling_strategy, config.length_step],
        "learning_rate": config.learning_rate,
        "num_train_epochs": config.num_train_epochs,
        "max_steps": config.max_steps,
        "lora": repr(config.lora) if config.uses_lora else None,
        "reference_model": weights_fingerprint(config.reference_model, None) if config.reference_model else None,
        "load_in_4bit": config.bnb_4bit_quant_type if config.load_in_4bit else None,
        "dtype": config.dtype,
        "mixed_precision": [config.bf16, config.fp16],
        "warmup_steps": config.warmup_steps,
        "lr_scheduler_type": str(config.lr_scheduler_type),
        "optim": str(config.optim),
        "weight_decay": config.weight_decay,
        "max_grad_norm": config.max_grad_norm,
        "other": _rare(config) or None,  # None as in checkpoints that do not know it
    }


def _rare(config: Config) -> dict[str, Any]:
    """Those of `RARE` that are not at their default."""
    defaults = {field.name: field.default for field in fields(config)}
    return {name: value for name in RARE if (value := getattr(config, name)) != defaults[name]}


def _words(sample: Sample) -> str:
    """Of alternates too, whose file may change under its name."""
    return json.dumps([sample.person, [[turn.question, turn.answer] for turn in sample.turns], sample.learnt])


def record(config: Config, plan: Plan, training: dict[str, Any], system_prompt: str | None) -> dict[str, Any]:
    """The content of unlearning.yaml."""
    local = Path(config.model_name_or_path).is_dir()
    length = "max_steps" if config.max_steps > 0 else "num_train_epochs"
    options = {k: v for k in ("learning_rate", length) if (v := getattr(config, k)) is not None}
    if config.uses_lora:
        options |= {
            "lora_r": config.lora_r,
            "lora_alpha": config.lora_alpha,
            "lora_dropout": config.lora_dropout,
            "lora_target": ",".join(config.lora.targets),
        }
    values = {name: getattr(config, name) for name in STEP}
    options |= {name: v.value if isinstance(v, Enum) else v for name, v in values.items() if v}
    options |= _rare(config)
    options["processes"] = config.world_size
    options |= {f"stop_{side}_loss_above": bound for side, bound in config.bounds.items()}
    if config.load_in_4bit:
        options["load_in_4bit"] = config.bnb_4bit_quant_type
    if config.train_data:
        options["train_data"] = config.train_data
    if config.reference_model:
        options["reference_model"] = config.reference_model
    return {
        "kind": config.kind,
        "method": config.method,
        "about": {key: getattr(config.chosen, key) for key in ("title", "formula", "paper")},
        "method_code": code(type(config.chosen)),
        "protocol": config.protocol,
        "hyper_parameters": dict(config.hyper_parameters) | (options if config.chosen.trains else {}),
        "base_model": {
            "name_or_path": str(Path(config.model_name_or_path).resolve()) if local else config.model_name_or_path,
            "revision": config.revision,
            "fingerprint": plan.fingerprint,
        },
        "forget": {
            "ratio": plan.people.ratio,
            "ids": list(plan.people.forget) if config.method != "finetune" else [],
        },
        "retain": {"people": len(plan.people.retain)},
        **_whom(config, plan.people),
        "data": {
            "source": config.data,
            "hash": plan.data_hash,
            "benchmark_questions": config.benchmark_questions,
            "benchmark_shots": config.benchmark_shots,
            "pairs": {side: len(samples) for side, samples in plan.sides.items()},
            "pairs_left_out": plan.left_out,
        },
        "modalities": list(config.modality_set) if config.chosen.sides else [],
        "seed": config.seed,
        "system_prompt": system_prompt,
        "versions": card.versions(),
        "training": training,
    }


def _whom(config: Config, people: People) -> dict[str, Any]:
    if config.method != "finetune":
        return {}
    count = len(trained_on(config, people))
    return {"trained": {"whom": config.people, "people": count, "forget_set": list(people.forget)}}


def loss_curve(logs: Sequence[Mapping[str, Any]], points: int = POINTS) -> dict[str, list]:
    """Columns of equal length out of the Trainer's log: `step`, `loss`, and one a term (`loss_forget`, ...).

    A term that a step did not log is None there. {} without logs.
    """
    if not logs:
        return {}
    every = -(-len(logs) // points)
    kept = [*reversed(logs[::-1][::every])]
    names = sorted({name for entry in kept for name in entry if name.startswith("loss")})
    columns = {name: [_short(entry.get(name)) for entry in kept] for name in names}
    return {"step": [entry["step"] for entry in kept]} | columns


def _short(value: float | None) -> float | None:
    return None if value is None else float(f"{value:.4g}")
