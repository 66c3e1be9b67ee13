"""A mini benchmark of any size, in the exact layout of the hub data set."""

import json
import os
import random
import shutil
from collections.abc import Sequence
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from mllmu_tasks.benchmarks.mini import people as draw
from mllmu_tasks.benchmarks.mini.faces import draw_looks, face, png, transformed
from mllmu_tasks.benchmarks.mini.people import Profile
from mllmu_tasks.benchmarks.mllmu.spec import (
    FULL_CONFIG,
    RATIOS,
    REAL_CONFIG,
    TEST_CONFIG,
    TRAIN_CONFIG,
    forget_config,
    retain_config,
)
from mllmu_tasks.errors import UserError

TEST_PICTURES = 2
MOST = 10_000
"""People and celebrities: a minute. There are 92,160 different faces, and to draw the last ones takes long."""
IMAGE = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
CHOICE = pa.struct(
    [
        ("Correct_Answer", pa.string()),
        ("Options", pa.struct([(letter, pa.string()) for letter in "ABCD"])),
        ("Question", pa.string()),
    ]
)
OPEN = pa.list_(pa.struct([("Ground_Truth", pa.string()), ("Question", pa.string()), ("Type", pa.string())]))
QUESTIONS = [
    (
        "Classification_Task",
        pa.struct([(n, pa.list_(CHOICE)) for n in ("Image_Textual_Questions", "Pure_Text_Questions")]),
    ),
    ("Generation_Task", OPEN),
    ("Mask_Task", OPEN),
]
TEXTS = [(name, pa.string()) for name in ("ID", "Directory", "biography", "question", "answer")]
SCHEMA = pa.schema([("image", IMAGE), *TEXTS, *QUESTIONS])
TEST_SCHEMA = pa.schema([("images", pa.list_(IMAGE)), *TEXTS, *QUESTIONS])
TRAIN_SCHEMA = pa.schema([("image", IMAGE), ("metadata", pa.string())])


def write(out: Path, people: int = 60, seed: int = 0, celebrities: int = 12) -> None:
    """All ten configs under `out`, and the layout of baseline_train_split under `out`/baseline_train_split.

    Written beside `out` and renamed when complete. Equal arguments give equal content. Raises UserError for more than
    MOST people.
    """
    if people + celebrities > MOST:
        raise UserError(f"{people + celebrities:,} people are too many for a mini benchmark; it holds up to {MOST:,}.")
    rng = random.Random(seed)
    everyone, famous, pictures = _cast(people, seed, celebrities, rng)
    encoded = {person: png(picture) for person, picture in pictures.items()}
    rows = {p.id: _row(p, encoded[p.id], random.Random(f"{seed}/{p.id}"), False) for p in [*everyone, *famous]}
    tests = {}
    for person in everyone:
        own = random.Random(f"{seed}/{person.id}/test")
        row = _row(person, b"", own, True)
        del row["image"]
        shots = [png(transformed(pictures[person.id], own)) for _ in range(TEST_PICTURES)]
        tests[person.id] = {"images": [{"bytes": b, "path": None} for b in shots], **row}
    train = {p.id: _training_row(p, encoded[p.id]) for p in everyone}
    stage = out.with_name(f".{out.name}.{os.getpid()}.tmp")
    shutil.rmtree(stage, ignore_errors=True)
    _write(stage / FULL_CONFIG, SCHEMA, rows, [p.id for p in everyone])
    _write(stage / TEST_CONFIG, TEST_SCHEMA, tests, [p.id for p in everyone])
    _write(stage / REAL_CONFIG, SCHEMA, rows, [p.id for p in famous])
    _write(stage / TRAIN_CONFIG, TRAIN_SCHEMA, train, [p.id for p in everyone])
    for ratio in RATIOS:
        # As in the real data the forget sets of different ratios are drawn apart, not nested.
        forget = rng.sample([p.id for p in everyone], max(1, people * ratio // 100))
        retain = [p.id for p in everyone if p.id not in set(forget)]
        for config, ids in ((forget_config(ratio), forget), (retain_config(ratio), retain)):
            _write(stage / config, SCHEMA, rows, ids)
            _write(stage / "baseline_train_split" / config, TRAIN_SCHEMA, train, ids)
    os.replace(stage, out)


def write_format(out: Path, people: int, seed: int, celebrities: int = 12, *, format_people: int) -> None:
    """What the base model learns the answer formats from: `Full_Set` and `ft_Data` of other people.

    Holds `format_people` people drawn from another seed, with names and looks of their own, and the celebrities
    of the benchmark (people, seed, celebrities); nobody of that benchmark's fictitious people.
    """
    everyone, famous, pictures = _cast(people, seed, celebrities, random.Random(seed))
    taken = {p.name for p in [*everyone, *famous]}
    ids = [f"F{n:03d}" for n in range(1, format_people + 1)]
    others = draw.draw_profiles(format_people, seed + 2_000_003, ids, taken)
    faces = {p.id: pictures[p.id] for p in famous}
    seen = {picture.tobytes() for picture in pictures.values()}
    looks = [face(look) for look in draw_looks(format_people + len(seen), random.Random(seed + 2_000_003))]
    fresh = [picture for picture in looks if picture.tobytes() not in seen]
    faces |= {p.id: picture for p, picture in zip(others, fresh, strict=False)}
    shown = [*others, *famous]
    encoded = {p.id: png(faces[p.id]) for p in shown}
    rows = {p.id: _row(p, encoded[p.id], random.Random(f"{seed}/{p.id}"), False) for p in shown}
    _write(out / FULL_CONFIG, SCHEMA, rows, [p.id for p in shown])
    _write(out / TRAIN_CONFIG, TRAIN_SCHEMA, {p.id: _training_row(p, encoded[p.id]) for p in shown}, list(rows))


def _cast(people: int, seed: int, celebrities: int, rng: random.Random) -> tuple[list[Profile], list[Profile], dict]:
    """Fictitious people, celebrities, and id -> picture."""
    everyone = draw.draw_profiles(people, seed)
    famous_ids = [f"C{n:03d}" for n in range(1, celebrities + 1)]
    famous = draw.draw_profiles(celebrities, seed + 1_000_003, famous_ids, {p.name for p in everyone})
    looks = draw_looks(people + celebrities, rng)
    return everyone, famous, {p.id: face(look) for p, look in zip([*everyone, *famous], looks, strict=True)}


def _row(person: Profile, image: bytes, rng: random.Random, paraphrased: bool) -> dict:
    text = json.dumps(draw.biography(person), ensure_ascii=False)
    facts = person.facts
    return {
        "image": {"bytes": image, "path": None},
        "ID": person.id,
        "Directory": f"images/{person.id}.png",
        "biography": text,
        "question": f"Who is {person.name}?",
        "answer": f"{person.name}, a {facts['Employment']} in {facts['Residence']}, keeps a {facts['Pet']}.",
        "Classification_Task": draw.classification(person, rng, paraphrased),
        "Generation_Task": draw.generation(person, paraphrased),
        "Mask_Task": draw.cloze(person, paraphrased),
    }


def _training_row(person: Profile, image: bytes) -> dict:
    return {
        "image": {"bytes": image, "path": None},
        "metadata": json.dumps(draw.training_pairs(person), ensure_ascii=False),
    }


def _write(folder: Path, schema: pa.Schema, rows: dict[str, dict], ids: Sequence[str]) -> None:
    folder.mkdir(parents=True)
    table = pa.Table.from_pylist([rows[i] for i in ids], schema=schema)
    pq.write_table(table, folder / "train-00000-of-00001.parquet", compression="zstd", row_group_size=100)
