"""Batches of like length: under 10 % of the tokens are padding, on every side that shares a batch."""

import random

import pytest
from transformers import AutoProcessor

from mllmu_tasks.benchmarks.mini import checkpoint
from mllmu_tasks.data.source import open_source
from mllmu_tasks.models.encode import AnswerEncoder, stop_tokens
from mllmu_unlearn.config.commands import UnlearnConfig, parse
from mllmu_unlearn.toolbox.samples import ImageRef, Sample, Turn
from mllmu_unlearn.training import plan
from mllmu_unlearn.training.encoders import SampleEncoder
from mllmu_unlearn.training.schedule import Schedule

SIDES = ("forget", "retain")


def shares(schedule: Schedule, lengths: dict[str, list[int]], epochs: int = 2) -> dict[str, float]:
    """The share of padding among the tokens of each side's batches."""
    real, padded = dict.fromkeys(lengths, 0), dict.fromkeys(lengths, 0)
    for epoch in range(epochs):
        schedule.set_epoch(epoch)
        for batch in schedule:
            for side in lengths:
                each = [lengths[side][dict(key.picks)[side]] for key in batch]
                real[side] += sum(each)
                padded[side] += max(each) * len(each)
    return {side: 1 - real[side] / padded[side] for side in lengths}


@pytest.mark.parametrize("batch", [4, 8])
def test_the_mini_benchmark(tmp_path, batch):
    folder = str(checkpoint("vanilla"))
    argv = ["--method", "grad_diff", "--model_name_or_path", folder, "--data", "mini", "--forget_ratio", "15"]
    argv += ["--output_dir", str(tmp_path / "out"), "--per_device_train_batch_size", str(batch)]
    made = plan.make(parse(UnlearnConfig, argv), open_source("mini"))
    processor = AutoProcessor.from_pretrained(folder)
    encode = SampleEncoder(AnswerEncoder(processor, stop_tokens(processor, None)))
    lengths = {s: [encode(x, x.images())["input_ids"].shape[1] for x in made.sides[s]] for s in SIDES}
    found = shares(made.schedule, lengths)
    assert max(found.values()) < 0.1, found
    plainly = Schedule({s: len(v) for s, v in lengths.items()}, (SIDES,), batch, seed=0)
    assert min(shares(plainly, lengths).values()) > 0.1  # what random batches would spend


def hub_like(people: int, rng: random.Random) -> tuple[list[Sample], list[int]]:
    """Samples and lengths as of LLaVA-1.5 on the hub's data: image pairs, short facts, a long description."""
    samples, lengths = [], []

    def add(question: int, answer: int, image: bool) -> None:
        turn = Turn("q" * question, "a" * answer, ImageRef(None, "ft_Data", "1", 0) if image else None)
        samples.append(Sample("1", (turn,), "test"))
        tokens = (question + answer) / rng.gauss(4.4, 0.3)  # characters a token
        lengths.append(576 * image + 12 + round(tokens))

    for _ in range(people):
        for _ in range(10):
            add(rng.randint(30, 120), rng.randint(15, 250), True)
        for _ in range(12):
            add(rng.randint(30, 60), rng.randint(4, 60), False)
        add(40, rng.randint(500, 1200), False)
    return samples, lengths


@pytest.mark.parametrize("batch", [4, 16])
def test_a_benchmark_of_the_papers_size(batch):
    rng = random.Random(0)
    made = {side: hub_like(people, rng) for side, people in zip(SIDES, (25, 475), strict=True)}
    sizes = {side: plan.sizes(samples, UnlearnConfig.length_step) for side, (samples, _) in made.items()}
    lengths = {side: of for side, (_, of) in made.items()}
    schedule = Schedule({s: len(v) for s, v in lengths.items()}, (SIDES,), batch, seed=0, sizes_of=sizes)
    found = shares(schedule, lengths)
    assert max(found.values()) < 0.1, found


def test_every_retain_sample_is_still_drawn_equally_often():
    sizes = {"forget": [n % 5 for n in range(40)], "retain": [n % 7 for n in range(20)]}
    schedule = Schedule({"forget": 40, "retain": 20}, (SIDES,), 4, seed=0, sizes_of=sizes)
    picks = [dict(key.picks) for batch in schedule for key in batch]
    assert sorted(p["forget"] for p in picks) == list(range(40))
    assert sorted(p["retain"] for p in picks) == sorted([*range(20), *range(20)])


def test_aligned_sides_keep_their_partner_when_sizes_sort():
    sizes = {"forget": [n % 5 for n in range(13)], "retain": [n % 7 for n in range(20)], "idk": [0] * 13}
    schedule = Schedule(
        {side: len(of) for side, of in sizes.items()},
        (("forget", "idk", "retain"),),
        4,
        seed=0,
        aligned={"idk": "forget"},
        sizes_of=sizes,
    )
    picks = [dict(key.picks) for batch in schedule for key in batch]
    assert all(p["forget"] == p["idk"] for p in picks)
