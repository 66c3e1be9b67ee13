"""Which flags of `transformers.TrainingArguments` work here, and why the others are refused.

Every field stands in one of the tables below. A field in none of them came with another Transformers: it is refused,
too, until somebody has looked what it does to a loss, batches and checkpoints that are not the Trainer's own.
"""

from dataclasses import MISSING, Field, fields
from enum import Enum
from typing import Any

from transformers import TrainingArguments

from mllmu_tasks.errors import UserError, did_you_mean, escape_line, quoted

WORKS = (
    *("output_dir", "resume_from_checkpoint", "do_train", "seed", "data_seed", "full_determinism", "use_cpu"),
    *("per_device_train_batch_size", "gradient_accumulation_steps", "num_train_epochs", "max_steps"),
    *("learning_rate", "lr_scheduler_kwargs", "warmup_steps", "weight_decay", "max_grad_norm"),
    *("optim_args", "adam_beta1", "adam_beta2", "adam_epsilon"),
    *("bf16", "fp16", "tf32", "torch_empty_cache_steps", "neftune_noise_alpha", "train_sampling_strategy"),
    *("activation_checkpointing", "gradient_checkpointing"),
    *("activation_checkpointing_kwargs", "gradient_checkpointing_kwargs"),
    *("logging_strategy", "logging_steps", "logging_first_step", "log_on_each_node", "log_level", "log_level_replica"),
    *("disable_tqdm", "report_to", "run_name", "skip_memory_metrics"),
    *("save_steps", "save_total_limit", "ignore_data_skip"),
    *("dataloader_num_workers", "dataloader_pin_memory", "dataloader_persistent_workers", "dataloader_prefetch_factor"),
    *("ddp_find_unused_parameters", "ddp_bucket_cap_mb", "ddp_broadcast_buffers", "ddp_static_graph"),
    *("ddp_backend", "ddp_timeout"),
)
"""Whatever they are set to, as Transformers describes them; ranges are those of `numbers.py` and `optimizer.py`."""

LIMITED = {
    "save_strategy": (("epoch", "steps", "no"), "no score is taken while training, so no checkpoint is the best"),
    "debug": (("", "underflow_overflow"), "the other values are for TPUs"),
    "lr_scheduler_type": (
        (
            *("linear", "cosine", "cosine_with_restarts", "polynomial", "constant", "constant_with_warmup"),
            *("inverse_sqrt", "cosine_with_min_lr", "cosine_warmup_with_min_lr", "warmup_stable_decay"),
        ),
        "the other schedules follow a score that is taken while training",
    ),
    "optim": (
        (
            *("adamw_torch", "adamw_torch_fused", "adafactor", "sgd", "adagrad", "rmsprop"),
            *("adamw_bnb_8bit", "adamw_8bit", "paged_adamw_32bit", "paged_adamw_8bit", "ademamix", "ademamix_8bit"),
            *("paged_ademamix_32bit", "paged_ademamix_8bit", "lion_32bit", "lion_8bit", "paged_lion_32bit"),
            *("paged_lion_8bit", "rmsprop_bnb", "rmsprop_bnb_8bit", "rmsprop_bnb_32bit"),
            *("adamw_torch_4bit", "adamw_torch_8bit", "stable_adamw", "grokadamw"),
        ),
        "the other optimisers step inside the backward pass, project matrices or save other weights than they train",
    ),
}
"""Flags whose values in the tuple work, with the reason why others do not."""

_EVALUATE = "nothing is evaluated while training; evaluate the result with lmms-eval"
_UPLOAD = "a result goes to the Hub by `mllmu push`"
_LOSS = "each method has a loss of its own"
_BATCHES = "batches are laid out by the method and prepared by mllmu itself"
_LAUNCH = "several GPUs are started with --accelerate_config"
_TRACKIO = "only trackio reads it; set its own environment variables"

REFUSED = {
    **dict.fromkeys(("do_eval", "do_predict", "eval_strategy", "eval_steps", "eval_delay", "eval_on_start"), _EVALUATE),
    **dict.fromkeys(("per_device_eval_batch_size", "eval_accumulation_steps", "prediction_loss_only"), _EVALUATE),
    **dict.fromkeys(("eval_do_concat_batches", "eval_use_gather_object", "include_for_metrics"), _EVALUATE),
    **dict.fromkeys(("batch_eval_metrics", "bf16_full_eval", "fp16_full_eval"), _EVALUATE),
    **dict.fromkeys(("load_best_model_at_end", "metric_for_best_model", "greater_is_better"), _EVALUATE),
    **dict.fromkeys(("push_to_hub", "hub_token", "hub_private_repo", "hub_model_id", "hub_strategy"), _UPLOAD),
    **dict.fromkeys(("hub_always_push", "hub_revision"), _UPLOAD),
    "label_smoothing_factor": f"{_LOSS}, and none of them smooths labels",
    "average_tokens_across_devices": f"{_LOSS}, which is always a mean over all devices",
    "use_liger_kernel": f"{_LOSS}, and Liger's kernels would replace the model's",
    "liger_kernel_config": f"{_LOSS}, and Liger's kernels would replace the model's",
    "torch_compile": "losses read hidden states and switch adapters, which a compiled model does not allow",
    "torch_compile_backend": "no model is compiled here",
    "torch_compile_mode": "no model is compiled here",
    "use_cache": "training needs no key-value cache",
    "auto_find_batch_size": "another batch size makes another run; --dry_run and --gradient_checkpointing help",
    "optim_target_modules": "only optimisers that are refused here read it",
    "logging_nan_inf_filter": "a loss that is not finite ends the run",
    "include_num_input_tokens_seen": "unlearning.yaml holds the tokens that went through the model",
    "save_only_model": "a checkpoint without its optimiser cannot be continued",
    "save_on_each_node": "the first process writes what all share",
    "enable_jit_checkpoint": "mllmu itself ends a run in order when a scheduler stops it",
    "restore_callback_states_from_checkpoint": "no callback here keeps a state",
    **dict.fromkeys(("accelerator_config", "dataloader_drop_last", "dataloader_multiprocessing_context"), _BATCHES),
    **dict.fromkeys(("dataloader_in_order", "remove_unused_columns", "label_names", "length_column_name"), _BATCHES),
    **dict.fromkeys(("fsdp", "fsdp_config", "deepspeed", "parallelism_config", "local_rank"), _LAUNCH),
    **dict.fromkeys(("project", "trackio_space_id", "trackio_bucket_id", "trackio_static_space_id"), _TRACKIO),
}
"""Flags that stay at their default, with the reason."""

NEEDS = {
    "run_name": ("report_to", None),
    "save_steps": ("save_strategy", "steps"),
    "logging_steps": ("logging_strategy", "steps"),
    "dataloader_persistent_workers": ("dataloader_num_workers", None),
    "gradient_checkpointing_kwargs": ("gradient_checkpointing", None),
}
"""Flags that do nothing unless another one has this value (None: any that is not 0, false or empty)."""
CHECKPOINTING = ("use_reentrant", "preserve_rng_state", "determinism_check", "debug", "early_stop")
"""Of torch.utils.checkpoint.checkpoint, as JSON can say them."""

UNKNOWN = "it belongs to a Transformers that this mllmu does not know"


def check(config: TrainingArguments) -> None:
    """Raise UserError for a flag of `TrainingArguments` that would do nothing here, or harm.

    Reads the values as given, before `TrainingArguments` itself has looked at them.
    """
    for field in _theirs(config):
        value = getattr(config, field.name)
        off = value is False and _default(field) in (None, "no")
        if field.name in WORKS or value == _default(field) or off:
            continue
        if field.name in LIMITED:
            known, reason = LIMITED[field.name]
            for one in map(_word, value if isinstance(value, list) else [value]):
                if one not in known:
                    near = did_you_mean(one, filter(None, known))
                    raise UserError(f"{_shown(field.name, one)} has no place here: {reason}.{near}")
            continue
        reason = REFUSED.get(field.name, UNKNOWN)
        raise UserError(f"{_shown(field.name, value)} has no place here: {reason}. Leave it out.")


def check_together(config: TrainingArguments) -> None:
    """Raise UserError for a flag that does nothing beside the others, read by `TrainingArguments` by now."""
    for field in _theirs(config):
        if field.name not in NEEDS or getattr(config, field.name) == _default(field):
            continue
        needed, wanted = NEEDS[field.name]
        if not getattr(config, needed) if wanted is None else getattr(config, needed) != wanted:
            raise UserError(f"--{field.name} needs --{needed}{f' {wanted}' if wanted else ''}; leave it out.")
    for name in ("gradient_checkpointing_kwargs", "lr_scheduler_kwargs"):
        value = getattr(config, name)
        if value is not None and not isinstance(value, dict):
            raise UserError(f"""--{name} {quoted(str(value))} is no JSON object such as '{{"name": 1}}'.""")
    for key in config.gradient_checkpointing_kwargs or ():
        if key not in CHECKPOINTING:
            raise UserError(f"--gradient_checkpointing_kwargs has no {quoted(key)}.{did_you_mean(key, CHECKPOINTING)}")


def _theirs(config: TrainingArguments) -> list[Field]:
    """Fields of `TrainingArguments`, with the defaults of the config's class."""
    names = {field.name for field in fields(TrainingArguments)}
    return [field for field in fields(config) if field.name in names]


def _default(field: Field) -> Any:
    return field.default if field.default_factory is MISSING else field.default_factory()


def _shown(name: str, value: Any) -> str:
    if name == "hub_token":
        return f"--{name}"
    return f"--{name} {escape_line(_word(value))}"


def _word(value: Any) -> str:
    return str(value.value if isinstance(value, Enum) else value)
