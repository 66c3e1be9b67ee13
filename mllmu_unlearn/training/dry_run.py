"""What a dry run prints."""

import math

from mllmu_unlearn.config import launch
from mllmu_unlearn.config.commands import Config
from mllmu_unlearn.training import base_model, quantized
from mllmu_unlearn.training.plan import Plan, context_of


def describe(config: Config, plan: Plan) -> str:
    """The work, and what it needs (weights exactly, activations not at all)."""
    model = base_model.empty_model(config)
    weights = sum(p.numel() for p in model.parameters())
    width = {"float32": 4, "bfloat16": 2, "float16": 2}.get(config.dtype) or model.dtype.itemsize
    if config.kind == "prompt":
        return f"method prompting: writes a system prompt to {config.output_dir}; nothing is trained"
    method, apart = config.chosen, config.kind != "full" or config.uses_lora  # numbers beside the weights, in float32
    trainable = method.trainable(context_of(config, model))
    saved = weights * width if config.kind == "full" else trainable * 4
    steps = config.max_steps if config.max_steps > 0 else math.ceil(config.num_train_epochs * plan.steps_per_epoch)
    base = quantized.bytes_of(model) if config.load_in_4bit else weights * width
    memory = base + trainable * (12 + (4 if apart else 0))
    keep = 0 if config.save_strategy == "no" else (config.save_total_limit or 1)
    shared = " before sharding" if config.accelerate_config and launch.shards(config.accelerate_config) else ""
    most = "at most " if config.kind == "shira" else ""  # which entries train is known from the gradients only
    samples = ", ".join(f"{len(s)} {side}" for side, s in plan.sides.items())
    lines = {
        "method": f"{config.method} ({config.protocol}): {method.formula}",
        "people": f"{len(plan.people.forget)} forget, {len(plan.people.retain)} retain",
        "samples": samples + (f"; {plan.left_out} pairs left out" if plan.left_out else ""),
        "steps": f"{steps} ({plan.steps_per_epoch} an epoch), batch "
        f"{config.per_device_train_batch_size} x {config.gradient_accumulation_steps} x {config.processes}",
        "learning rate": f"{config.learning_rate:g}",
        "parameters": f"{weights:,}, trained {most}{trainable:,} ({config.kind})",
        "memory": f"{most}{_size(memory)} for weights, gradients and optimiser{shared}; activations come on top",
        "disk": f"{most}{_size(saved)} for the result, {_size(keep * (saved + 8 * trainable))} for checkpoints",
        "output": config.output_dir,
    }
    if config.not_here:
        lines["machine"] = f"planned for another one: there is no {', '.join(config.not_here)} here"
    if not method.trains:
        del lines["steps"], lines["learning rate"]
    return "\n".join(f"{name:<14} {value}" for name, value in lines.items())


def _size(count: float) -> str:
    return f"{count / 2**30:.1f} GiB" if count >= 2**30 else f"{count / 2**20:.1f} MiB"
