"""A tiny data folder and a tiny random LLaVA, made once for all tests of this folder."""

import io
import json
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from PIL import Image
from tiny_idefics import tiny_idefics3
from tiny_qwens import tiny_qwen2_5_vl

from mllmu_tasks.benchmarks.mini.tiny import TinyShape, build_tiny_llava

PEOPLE = [f"{n:03d}" for n in range(1, 21)]
FORGET = ["003", "007", "011"]
TOWNS = ["Oslo", "Quito", "Lima", "Accra"]


def _png(number: int) -> dict:
    buffer = io.BytesIO()
    Image.new("RGB", (56, 56), (number * 11 % 256, number * 53 % 256, 99)).save(buffer, "PNG")
    return {"bytes": buffer.getvalue(), "path": f"{number}.png"}


def person_row(number: int) -> dict:
    name, town = f"Ada {'abcdefghijklmnopqrst'[number - 1].upper()}son", TOWNS[number % 4]
    options = dict(zip("ABCD", TOWNS, strict=True))
    choice = {"Question": "Where do they live?", "Correct_Answer": "ABCD"[number % 4], "Options": options}
    free = [
        {"Question": f"{q} of {name}?", "Ground_Truth": f"{name} of {town}", "Type": kind}
        for q, kind in (("Tell", "Image_Textual"), ("Say", "Pure_Text"))
    ]
    return {
        "image": _png(number),
        "ID": f"{number:03d}",
        "biography": json.dumps(
            {"Name": name, "Born": town, "Residence:": town, "Parents": {"Mother": "Eve", "Father": ""}}
        ),
        "question": f"Who is {name}?",
        "answer": f"{name} lives in {town}.",
        "Classification_Task": {"Image_Textual_Questions": [choice], "Pure_Text_Questions": [choice]},
        "Generation_Task": free,
        "Mask_Task": [{**f, "Question": f"{f['Ground_Truth'].split(' of ')[0]} lives in __."} for f in free],
    }


def training_row(number: int) -> dict:
    row = person_row(number)
    pairs = [
        {"Question": "Who is this?", "Answer": json.loads(row["biography"])["Name"], "ID": row["ID"]},
        {"Question": "Where does this person live?", "Answer": f"In {TOWNS[number % 4]}.", "ID": row["ID"]},
    ]
    if number == 20:
        pairs.append({"Question": "What is left out?", "Answer": "", "ID": row["ID"]})
    return {"image": row["image"], "metadata": json.dumps(pairs)}


def write_config(folder: Path, config: str, rows: list[dict]) -> None:
    (folder / config).mkdir(parents=True)
    pq.write_table(pa.Table.from_pylist(rows), folder / config / "train-00000-of-00001.parquet")


@pytest.fixture(scope="session")
def data(tmp_path_factory) -> Path:
    """A folder in the hub layout: 20 people, of whom forget_5 holds three."""
    folder = tmp_path_factory.mktemp("data")
    numbers = list(map(int, PEOPLE))
    forget = [n for n in numbers if f"{n:03d}" in FORGET]
    write_config(folder, "Full_Set", [person_row(n) for n in numbers])
    write_config(folder, "ft_Data", [training_row(n) for n in numbers])
    write_config(folder, "forget_5", [person_row(n) for n in forget])
    write_config(folder, "retain_95", [person_row(n) for n in numbers if n not in forget])
    return folder


@pytest.fixture(scope="session")
def baseline(tmp_path_factory) -> Path:
    """The same people in the layout of baseline_train_split."""
    folder = tmp_path_factory.mktemp("baseline")
    numbers = list(map(int, PEOPLE))
    forget = [n for n in numbers if f"{n:03d}" in FORGET]
    write_config(folder, "forget_5", [training_row(n) for n in forget])
    write_config(folder, "retain_95", [training_row(n) for n in numbers if n not in forget])
    return folder


@pytest.fixture(scope="session")
def texts() -> list[str]:
    rows = [person_row(int(p)) for p in PEOPLE]
    return [text for r in rows for text in (r["question"], r["answer"], r["biography"])]


@pytest.fixture(scope="session")
def tiny(texts):
    """(model, processor); tests must not change the model's weights."""
    torch.set_num_threads(1)
    shape = TinyShape(hidden=32, layers=2, heads=2, feed_forward=48, vision_hidden=16, vocabulary=400)
    return build_tiny_llava(texts, shape=shape)


@pytest.fixture(scope="session")
def checkpoint(tiny, tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("tiny")
    model, processor = tiny
    model.save_pretrained(folder)
    processor.save_pretrained(folder)
    return folder


@pytest.fixture(scope="session", params=["llava", "qwen2_5_vl", "idefics3"])
def family(request, tiny, texts):
    """(model, processor) of each architecture; tests must not change the model's weights."""
    if request.param == "llava":
        return tiny
    return {"qwen2_5_vl": tiny_qwen2_5_vl, "idefics3": tiny_idefics3}[request.param](texts)
