"""What a run will do, worked out and checked before any model is loaded."""

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass

from torch import nn

from mllmu_tasks.artifacts.adapter_folder import weights_fingerprint
from mllmu_tasks.data.source import Source
from mllmu_tasks.errors import UserError
from mllmu_unlearn.config.commands import Config
from mllmu_unlearn.toolbox.context import Context
from mllmu_unlearn.toolbox.forward import Batch
from mllmu_unlearn.toolbox.samples import Sample
from mllmu_unlearn.training.benchmark_samples import benchmark_samples
from mllmu_unlearn.training.people import People, choose_people, everyone
from mllmu_unlearn.training.samples import TrainingSet, data_hash
from mllmu_unlearn.training.schedule import Schedule


@dataclass(frozen=True)
class Plan:
    """people: who is forgotten and who retained. sides: training samples. left_out: pairs of metadata that are
    no samples.
    """

    people: People
    sides: dict[str, list[Sample]]
    schedule: Schedule
    left_out: int
    data_hash: str
    fingerprint: str

    @property
    def steps_per_epoch(self) -> int:
        return -(-len(self.schedule) // self.schedule.accumulate)


def make(config: Config, source: Source) -> Plan:
    """Choose people and samples, lay out the batches. Raises UserError for what the data cannot give."""
    method, official = config.chosen, config.protocol == "official"
    people = _people(config, source)
    left_out, aligned, sides = 0, {}, {}
    if method.sides:
        training = TrainingSet(source, config.modality_set, config.train_data, config.forget_ratio)
        sides = _sides(config, source, training, people)
        extra = method.extra_sides(sides.get("forget") or _forget(config, source, training, people))
        sides, aligned = sides | extra, dict.fromkeys(extra, "forget")
        left_out = training.left_out
    layout = method.layout(sides)
    phases = method.official.phases if official and method.official else layout.phases
    sides = dict(layout.sides)
    _check_bounds(config, {side for phase in phases for side in phase} if method.trains else set())
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
        left_out,
        data_hash(
            source,
            config.forget_ratio,
            with_images="image" in config.modality_set and bool(method.sides),
            train_data=config.train_data,
        ),
        weights_fingerprint(config.model_name_or_path, config.revision),
    )


def context_of(
    config: Config,
    model: nn.Module,
    sides: Mapping[str, Sequence[Sample]] | None = None,
    collate: Callable[[str, Sequence[int]], Batch] | None = None,
    steps_per_epoch: int = 0,
) -> Context:
    """What the method sees of a run; without `collate` of one that is only planned, which has no batches."""
    return Context(
        model=model,
        sides=sides or {},
        collate=collate or _no_batches,
        lora=config.lora,
        revision=config.revision,
        modalities=config.modality_set,
        seed=config.seed,
        device=config.device,
        batch_size=config.per_device_train_batch_size,
        steps_per_epoch=steps_per_epoch,
    )


def _no_batches(side: str, indices: Sequence[int]) -> Batch:
    raise NotImplementedError(f"{len(indices)} samples of {side} are wanted, but nothing is prepared in a dry run")


def _check_bounds(config: Config, met: Collection[str]) -> None:
    """Raises UserError for a bound on a side that no batch holds, which would never stop anything."""
    for side in config.bounds:
        if side not in met:
            raise UserError(
                f"{config.method} has no {side} answers in its batches; leave out --stop_{side}_loss_above."
            )


def _sides(config: Config, source: Source, training: TrainingSet, people: People) -> dict[str, list[Sample]]:
    """The sides of the method that are made of people."""
    who = {"forget": people.forget, "retain": people.retain, "train": trained_on(config, people)}
    wanted = config.chosen.sides
    sides = {side: _samples(config, source, training, who[side]) for side in wanted if side in who}
    if "biographies" in wanted:
        sides["biographies"] = TrainingSet(source, ("text",)).of(people.forget + people.retain)
    return sides


def _forget(config: Config, source: Source, training: TrainingSet, people: People) -> list[Sample]:
    """The forget samples of a method that uses only their questions, with other answers."""
    known = {"forget", "retain", "train", "biographies"}
    return _samples(config, source, training, people.forget) if set(config.chosen.sides) - known else []


def _samples(config: Config, source: Source, training: TrainingSet, people: tuple[str, ...]) -> list[Sample]:
    samples = training.of(people)
    if config.benchmark_questions:
        samples += benchmark_samples(
            source,
            people,
            config.modality_set,
            shots=config.benchmark_shots,
            seed=config.seed,
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


def _people(config: Config, source: Source) -> People:
    if config.forget_ratio is None and not config.people_ids:
        return everyone(source)
    return choose_people(source, config.forget_ratio, config.people_ids)


def trained_on(config: Config, people: People) -> tuple[str, ...]:
    """Who `mllmu finetune` trains on; nobody for unlearning."""
    if config.method != "finetune":
        return ()
    return {"all": people.forget + people.retain, "forget": people.forget, "retain": people.retain}[config.people]
