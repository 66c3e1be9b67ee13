"""What `process_docs` costs, counted: images looked at, row groups read, calls a person; and generous seconds."""

import cProfile
import json
import pstats
import subprocess
import sys
from collections import Counter

import pyarrow.parquet as pq
import pytest
from benchmark_scripts import FOLDER, load
from PIL import Image

from mllmu_tasks.benchmarks.mllmu.questions import build_leaf
from mllmu_tasks.benchmarks.mllmu.settings import Settings
from mllmu_tasks.benchmarks.mllmu.spec import leaves
from mllmu_tasks.data.source import open_source

LEAVES = list(leaves(5))


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    """folders(people) -> a benchmark of so many people, images of 16 x 16."""
    made = {}

    def make(people: int) -> str:
        if people not in made:
            made[people] = tmp_path_factory.mktemp(f"people{people}")
            load("questions").write_benchmark(made[people], people, 16)
        return str(made[people])

    return make


def build_all(folder: str) -> int:
    open_source.cache_clear()
    source, settings = open_source(folder), Settings.from_environment()
    return sum(len(build_leaf(source, leaf, settings).rows) for leaf in LEAVES)


def test_each_image_is_looked_at_once(folders, monkeypatch):
    opened, read = [], Counter()
    look, group = Image.open, pq.ParquetFile.read_row_group

    def open_image(*args, **kwargs):
        opened.append(1)
        return look(*args, **kwargs)

    def read_row_group(self, number, *args, **kwargs):
        read[self.metadata.row_group(number).num_rows, number] += 1
        return group(self, number, *args, **kwargs)

    monkeypatch.setattr(Image, "open", open_image)
    monkeypatch.setattr(pq.ParquetFile, "read_row_group", read_row_group)
    assert build_all(folders(400)) > 8000
    forget, retain, real = 20, 380, 153
    asked = 2 * forget + retain + real  # test has pictures of its own; three image leaves each
    assert asked <= len(opened) <= asked + 20  # and those of the people shown as examples
    assert sum(read.values()) <= 40  # 14 row groups; shots are looked up leaf by leaf


def test_work_is_linear_in_people(folders):
    def calls(people: int) -> int:
        profile = cProfile.Profile()
        profile.runcall(build_all, folders(people))
        return pstats.Stats(profile).total_calls

    build_all(folders(100))  # imports and other things of the first time
    small, middle, large = (calls(people) for people in (100, 200, 400))
    assert large - middle < 2.2 * (middle - small)


def test_seconds_and_memory_of_the_benchmark_script(folders):
    command = [sys.executable, str(FOLDER / "questions.py"), "--folder", folders(400)]
    found = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout.splitlines()[-1])
    assert found["questions"] > 8000
    assert found["busy"] < 10  # a second or so
    assert found["grown"] < 150_000_000


def test_configs_that_repeat_people_share_them(folders):
    source = open_source(folders(100))
    everyone = source.by_id("Full_Set")
    for person in source.people("retain_95"):
        assert person.config == "retain_95"
        assert person.questions is everyone[person.id].questions
        assert person.biography is everyone[person.id].biography
    other = source.people("Test_Set")[0]
    assert other.questions != everyone[other.id].questions
