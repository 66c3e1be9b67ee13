"""`mllmu unlearn` and `mllmu finetune`: from a config to a finished output folder."""

import time
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from transformers import set_seed

from mllmu_tasks.artifacts.folders import check_output, check_replacing, checkpoints_of, whole_folder
from mllmu_tasks.artifacts.only_writer import only_writer
from mllmu_tasks.artifacts.record import RECORD
from mllmu_tasks.data.source import open_source
from mllmu_tasks.errors import UserError
from mllmu_tasks.models.encode import padding_id
from mllmu_tasks.models.families import family_of
from mllmu_tasks.models.memory import peak_memory
from mllmu_unlearn.config.commands import Config, FinetuneConfig, UnlearnConfig
from mllmu_unlearn.output import card, next_commands
from mllmu_unlearn.toolbox import adapter_sites
from mllmu_unlearn.training import (
    base_model,
    image_features,
    plan,
    provenance,
    reference,
    texts,
)
from mllmu_unlearn.training.checkpoints import begin, clear, require_finite_weights, resume_from
from mllmu_unlearn.training.collator import Collator
from mllmu_unlearn.training.dry_run import describe
from mllmu_unlearn.training.encoders import encoder_for, refuse_untrainable
from mllmu_unlearn.training.interruption import Bounds, explained
from mllmu_unlearn.training.plan import Plan
from mllmu_unlearn.training.samples import Rows
from mllmu_unlearn.training.trainer import STATE_FILE, MethodTrainer


def unlearn(config: UnlearnConfig) -> Path:
    """Run a method; returns the finished folder. Raises UserError; writes nothing on a dry run."""
    return _run(config)


def finetune(config: FinetuneConfig) -> Path:
    """Train a vanilla or a retain-only model; returns the finished folder. Raises UserError."""
    return _run(config)


def _run(config: Config) -> Path:
    out = Path(config.output_dir)
    writes = config.process_index == 0 and not config.dry_run
    with only_writer(out) if writes else nullcontext():
        return _run_alone(config, out)


def _run_alone(config: Config, out: Path) -> Path:
    """While no other process writes `out`."""
    if config.process_index == 0:
        check_output(out, sources(config))
    adapter_sites.refuse_adapter_folder(config.model_name_or_path)
    if config.n_gpu > 1 and not config.plans_a_launch:
        raise UserError(
            f"{config.n_gpu} GPUs are visible to one process; add --accelerate_config ddp to use all of them, "
            "or choose one with CUDA_VISIBLE_DEVICES=0."
        )
    reference.check(config)
    planned = plan.make(config, open_source(config.data))
    if planned.sides:
        refuse_untrainable(family_of(base_model.model_settings(config).model_type), config, planned.sides)
    replaces = _replaces(config, planned, out)
    if config.dry_run:
        print(describe(config, planned))
        return out
    config.check_trackers()
    if planned.left_out and config.process_index == 0:
        print(f"mllmu: {planned.left_out} training pairs are left out; `mllmu data validate` names them")
    work = checkpoints_of(out)
    resume = None if config.kind == "prompt" else resume_from(config, planned, work)
    if replaces:
        print(f"mllmu: the finished result in {out} will be replaced")
    if config.kind == "prompt":
        _write_prompt(config, planned, out)
    else:
        with explained(work, main=config.should_save):
            _train(config, planned, out, work, resume)
    if config.process_index == 0:
        record = provenance.record(config, planned, {}, None)
        whom = " on the people of --forget_ids" if config.people_ids else ""
        print(
            "\n    ".join(
                [f"mllmu: {out} is finished; to evaluate it{whom}:", *next_commands.commands(record, str(out))]
            )
        )
    return out


def sources(config: Config) -> dict[str, str | None]:
    """What a run reads and must not write over, by flag."""
    names = ("model_name_or_path", "reference_model", "data", "train_data")
    return {f"--{name}": getattr(config, name) for name in names}


def _replaces(config: Config, planned: Plan, out: Path) -> bool:
    """Whether a finished result is there (first process only). Raises UserError if it must stay."""
    if config.process_index != 0 or not (out / RECORD).is_file():
        return False
    if not config.overwrite_output_dir:
        check_replacing(out, provenance.record(config, planned, {}, None), "add --overwrite_output_dir to replace it")
    return True


def _write_prompt(config: UnlearnConfig, planned: Plan, out: Path) -> None:
    text = config.system_prompt or config.chosen.system_prompt
    with whole_folder(out) as folder:
        _write_card(config, planned, folder, out.name, {}, system_prompt=text)


def _train(config: Config, planned: Plan, out: Path, work: Path, resume: Path | None) -> None:
    method = config.chosen
    processor = base_model.load_processor(config)
    texts.refuse_marks(processor, planned.sides)
    model = base_model.load_model(config)
    official = config.protocol == "official"
    image_token = family_of(model.config.model_type).image_token(model.config)
    collator = Collator(padding_id(processor.tokenizer), official, image_token)
    rows = Rows(planned.sides, encoder_for(model, processor, official), int(config.cache_gb * 2**30))
    texts.refuse_unknown_tokens(processor, model, rows)
    set_seed(config.seed)  # the adapter's first weights are drawn before the Trainer sets it
    began = time.monotonic()
    context = plan.context_of(
        config,
        model,
        planned.sides,
        lambda side, indices: collator.batch([(index, rows.row(side, index), False) for index in indices]),
        planned.steps_per_epoch,
    )
    model = method.wrap(context)
    context = replace(context, model=model)
    images = image_features.make(
        model,
        method.hidden_layers(),
        int(config.feature_gb * 2**30),
        right_padded=not official,
        show=config.process_index == 0,
    )
    used = images.used if images else nullcontext  # not in prepare and finish, where a method may watch the tower
    with used(rows) if not config.reference_model else nullcontext():
        references = reference.references(config, context)
    if resume is None:
        begin(config, planned, work)
    bounds = Bounds(config.bounds)
    trainer = MethodTrainer(
        model=model,
        args=config.for_trainer(str(work)),
        data_collator=collator,
        processing_class=processor,
        method=method,
        rows=rows,
        schedule=planned.schedule,
        references=references,
        official=official,
        lr_per_epoch=config.lr_per_epoch,
        bounded=bounds.bounds,
        callbacks=[bounds],
    )
    trained = sum(parameter.numel() for parameter in model.parameters() if parameter.requires_grad)
    method.prepare(context)
    if method.trains:
        with used(rows):
            _fit(trainer, config, resume)
    trainer.model = method.finish(context) or model
    summary = _summary(trainer, time.monotonic() - began, trained)
    if bounds.reason:
        summary["stopped_early"] = bounds.reason
    if images:
        summary |= {"images_encoded": images.encoded, "images_reused": images.reused}
    _save(trainer, config, planned, out, summary)
    if config.should_save and not config.keep_checkpoints:
        clear(work)


def _fit(trainer: MethodTrainer, config: Config, resume: Path | None) -> None:
    if resume is not None:
        state = torch.load(resume / STATE_FILE, map_location="cpu", weights_only=True)
        trainer.method.load_state_dict(state)
    trainer.train(resume_from_checkpoint=str(resume) if resume else None)
    trainer.require_finite()


def _save(trainer: MethodTrainer, config: Config, planned: Plan, out: Path, summary: dict) -> None:
    main = trainer.is_world_process_zero()
    with whole_folder(out, write=main) as folder:
        trainer.accelerator.wait_for_everyone()
        trainer.save_model(str(folder), _internal_call=True)
        if main:
            (folder / "training_args.bin").unlink()
            require_finite_weights(folder)
            _write_card(config, planned, folder, out.name, summary)
        trainer.accelerator.wait_for_everyone()


def _write_card(
    config: Config, planned: Plan, folder: Path, name: str, summary: dict, system_prompt: str | None = None
) -> None:
    card.write(folder, provenance.record(config, planned, summary, system_prompt), name=name)


def _summary(trainer: MethodTrainer, seconds: float, trained: int) -> dict[str, Any]:
    logs = [entry for entry in trainer.state.log_history if "loss" in entry]
    last = {k: round(v, 4) for k, v in (logs[-1] if logs else {}).items() if k.startswith("loss")}
    return {
        "steps": trainer.state.global_step,
        "seconds": round(seconds, 1),
        "device": trainer.args.device.type,
        "peak_memory_mib": peak_memory(trainer.args.device),
        "tokens": trainer.tokens,
        "padding": round(trainer.padding / max(trainer.tokens, 1), 4),
        "trainable_parameters": trained,
        "final_losses": last,
        "losses": provenance.loss_curve(logs),
    }
