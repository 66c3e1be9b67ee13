"""What a run will do, worked out and checked before any model is loaded."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mllmu_tasks.benchmark import FULL_CONFIG, TRAIN_CONFIG, forget_config
from mllmu_tasks.models.adapter import weights_fingerprint
from mllmu_tasks.settings import Settings
from mllmu_tasks.source import Source, open_source
from mllmu_unlearn import card
from mllmu_unlearn.benchmark_data import benchmark_samples
from mllmu_unlearn.data import People, Sample, TrainingSet, baseline_configs, choose_people
from mllmu_unlearn.methods import code
from mllmu_unlearn.schedule import Schedule

if TYPE_CHECKING:
    from mllmu_unlearn.config import FinetuneConfig, UnlearnConfig


@dataclass(frozen=True)
class Plan:
    """people: who is forgotten and who retained. sides: training samples. left_out: empty pairs skipped."""

    people: People
    sides: dict[str, list[Sample]]
    schedule: Schedule
    lr_per_epoch: bool
    left_out: int
    data_hash: str
    fingerprint: str

    @property
    def steps_per_epoch(self) -> int:
        return -(-len(self.schedule) // self.schedule.accumulate)


def make(config: "UnlearnConfig | FinetuneConfig", source: Source) -> Plan:
    """Choose people and samples, lay out the batches. Raises UserError for what the data cannot give."""
    method, official = config.chosen, config.protocol == "official"
    people = _people(config, source)
    left_out, aligned, sides = 0, {}, {}
    if method.sides:
        training = TrainingSet(source, config.modality_set, config.train_data, config.forget_ratio)
        left_out = training.left_out
        sides = _sides(config, source, training, people)
        extra = method.extra_sides(sides.get("forget") or _forget(config, source, training, people))
        sides, aligned = sides | extra, dict.fromkeys(extra, "forget")
    layout = method.layout(sides)
    phases = method.official.phases if official and method.official else layout.phases
    sides = dict(layout.sides)
    by_side = {side: sizes(samples, config.length_step) for side, samples in sides.items()}
    schedule = Schedule(
        {side: len(samples) for side, samples in sides.items()},
        phases if sides else (),
        config.per_device_train_batch_size,
        seed=config.seed if config.data_seed is None else config.data_seed,
        aligned=aligned,
        interleaved=layout.interleaved,
        lengths=layout.lengths,
        sizes_of=by_side if config.train_sampling_strategy == "group_by_length" else None,
        accumulate=config.gradient_accumulation_steps,
        world=config.processes,
        rank=config.process_index,
    )
    return Plan(
        people,
        sides,
        schedule,
        bool(official and method.official and method.official.lr_per_epoch),
        left_out,
        _hash(config, source),
        weights_fingerprint(config.model_name_or_path, config.revision),
    )


def _sides(
    config: "UnlearnConfig | FinetuneConfig", source: Source, training: TrainingSet, people: People
) -> dict[str, list[Sample]]:
    """The sides of the method that are made of people."""
    who = {"forget": people.forget, "retain": people.retain, "train": _trained(config, people)}
    wanted = config.chosen.sides
    sides = {side: _samples(config, source, training, who[side]) for side in wanted if side in who}
    if "biographies" in wanted:
        sides["biographies"] = TrainingSet(source, ("text",)).of(people.forget + people.retain)
    return sides


def _forget(
    config: "UnlearnConfig | FinetuneConfig", source: Source, training: TrainingSet, people: People
) -> list[Sample]:
    """The forget samples of a method that uses only their questions, with other answers."""
    known = {"forget", "retain", "train", "biographies"}
    return _samples(config, source, training, people.forget) if set(config.chosen.sides) - known else []


def _samples(
    config: "UnlearnConfig | FinetuneConfig", source: Source, training: TrainingSet, people: tuple[str, ...]
) -> list[Sample]:
    samples = training.of(people)
    if config.benchmark_questions:
        samples += benchmark_samples(
            source,
            people,
            config.modality_set,
            shots=config.benchmark_shots,
            seed=config.seed,
            settings=Settings.from_environment(),
        )
    return samples


def sizes(samples: Sequence[Sample], step: int) -> list[tuple[int, int]]:
    """(images, characters) of each sample: a good order of lengths without processing anything.

    Characters are counted in steps, so that batches mix what is about equally long: a batch of one kind of
    question only is a poor sample of the loss.
    """
    return [
        (sum(t.image is not None for t in s.turns), sum(len(t.question) + len(t.answer) for t in s.turns) // step)
        for s in samples
    ]


def _people(config: "UnlearnConfig | FinetuneConfig", source: Source) -> People:
    if config.forget_ratio is None and not config.people_ids:
        return People((), tuple(person.id for person in source.people(FULL_CONFIG)))
    return choose_people(source, config.forget_ratio, config.people_ids)


def _trained(config: "UnlearnConfig | FinetuneConfig", people: People) -> tuple[str, ...]:
    if config.method != "finetune":
        return ()
    return {"all": people.forget + people.retain, "forget": people.forget, "retain": people.retain}[config.people]


def _whom(config: "UnlearnConfig | FinetuneConfig", people: People) -> dict[str, Any]:
    if config.method != "finetune":
        return {}
    count = len(_trained(config, people))
    return {"trained": {"whom": config.people, "people": count, "forget_set": list(people.forget)}}


def _hash(config: "UnlearnConfig | FinetuneConfig", source: Source) -> str:
    configs = [FULL_CONFIG]
    if config.forget_ratio is not None:
        configs.append(forget_config(config.forget_ratio))
    if "image" in config.modality_set and config.chosen.sides:
        if config.train_data:
            other = open_source(config.train_data).hash(baseline_configs(config.train_data, config.forget_ratio))
            return f"{source.hash(configs)}+{other}"
        configs.append(TRAIN_CONFIG)
    return source.hash(configs)


def identity(config: "UnlearnConfig | FinetuneConfig", plan: Plan) -> dict[str, Any]:
    """What must be equal for a checkpoint to be continued; plain JSON."""
    return {
        "method": config.method,
        "method_code": code(type(config.chosen)),
        "protocol": config.protocol,
        "hyper_parameters": config.hyper_parameters,
        "model": plan.fingerprint,
        "data": plan.data_hash,
        "samples": {side: len(samples) for side, samples in plan.sides.items()},
        "forget": list(plan.people.forget),
        "seed": config.seed,
        "batch": [config.per_device_train_batch_size, config.gradient_accumulation_steps, config.world_size],
        "sampling": [config.train_sampling_strategy, config.length_step],
        "learning_rate": config.learning_rate,
        "num_train_epochs": config.num_train_epochs,
        "max_steps": config.max_steps,
        "lora": repr(config.lora) if config.uses_lora else None,
        "reference_model": weights_fingerprint(config.reference_model, None) if config.reference_model else None,
        "load_in_4bit": config.bnb_4bit_quant_type if config.load_in_4bit else None,
        "dtype": config.dtype,
        "lr_scheduler_type": str(config.lr_scheduler_type),
        "optim": str(config.optim),
        "weight_decay": config.weight_decay,
        "max_grad_norm": config.max_grad_norm,
    }


def record(
    config: "UnlearnConfig | FinetuneConfig", plan: Plan, training: dict[str, Any], system_prompt: str | None
) -> dict[str, Any]:
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
    options |= {f"stop_{side}_loss_above": bound for side, bound in config.bounds.items()}
    if config.load_in_4bit:
        options["load_in_4bit"] = config.bnb_4bit_quant_type
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
