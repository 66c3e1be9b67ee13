"""The data of named people: who is in which config, what is a copy, and what is never written over."""

import os
import shutil
from collections import Counter

import pyarrow.parquet as pq
import pytest
import yaml
from data_sets import change, copy_mini, retype

from mllmu_tasks.benchmarks.mllmu.questions import build_leaf
from mllmu_tasks.benchmarks.mllmu.settings import Settings
from mllmu_tasks.benchmarks.mllmu.spec import Leaf, leaves
from mllmu_tasks.benchmarks.mllmu.validate import validate
from mllmu_tasks.data import request
from mllmu_tasks.data.source import open_source
from mllmu_tasks.errors import UserError

NAMED = ("009", "032")
ZERO_SHOT = Settings(shots=(0, 0))


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A request about two people of mini, none of whom is in its own forget_5."""
    assert not set(NAMED) & set(open_source("mini").by_id("forget_5"))
    return request.write(open_source("mini"), reversed(NAMED), tmp_path_factory.mktemp("made") / "two")


def test_forget_and_test_ask_about_exactly_the_named_and_retain_about_everyone_else(made):
    source, mini = open_source(str(made.folder)), open_source("mini")
    everyone = [person.id for person in mini.people("Full_Set")]
    wanted = {"forget": NAMED, "test": NAMED, "retain": tuple(i for i in everyone if i not in NAMED)}
    wanted["real"] = tuple(person.id for person in mini.people("Retain_Set"))
    for leaf in leaves(5):
        rows = build_leaf(source, leaf, ZERO_SHOT).rows
        assert tuple(dict.fromkeys(row["person"] for row in rows)) == wanted[leaf.split]
    assert (made.forget, made.retain, made.made, made.untested) == (NAMED, wanted["retain"], True, ())


def test_questions_and_images_are_those_of_the_source(made):
    source, mini = open_source(str(made.folder)), open_source("mini")
    assert validate(source).structural == ()
    for config in ("forget_5", "retain_95"):
        for person in source.people(config):
            twin = mini.by_id("Full_Set")[person.id]
            assert (person.questions, person.biography, person.answer) == (twin.questions, twin.biography, twin.answer)
            assert source.image_bytes(person) == mini.image_bytes(twin)
    copied = ("Full_Set", "Test_Set", "Retain_Set", "ft_Data")
    assert source.hash(copied) == mini.hash(copied)


def test_no_other_ratio_can_ask_about_other_people(made):
    with pytest.raises(UserError, match="no config forget_15"):
        build_leaf(open_source(str(made.folder)), Leaf.parse("mllmu_forget_15_cloze_text"), ZERO_SHOT)


def test_a_full_set_in_several_files_and_row_groups(tmp_path):
    data = copy_mini(tmp_path / "data")
    (file,) = (data / "Full_Set").glob("*.parquet")
    table = pq.read_table(file)
    file.unlink()
    for number, (start, size) in enumerate(((0, 25), (25, 10), (35, 25))):
        pq.write_table(table.slice(start, size), data / "Full_Set" / f"part-{number}.parquet", row_group_size=7)
    order = [row["ID"] for row in table.select(["ID"]).to_pylist()]
    named = {order[0], order[24], order[59]}
    request.write(open_source(str(data)), named, tmp_path / "out")
    source = open_source(str(tmp_path / "out"))
    assert [p.id for p in source.people("forget_5")] == [i for i in order if i in named]
    assert [p.id for p in source.people("retain_95")] == [i for i in order if i not in named]
    assert [file.name for file in source.files("forget_5")] == ["part-0.parquet", "part-2.parquet"]


def test_the_same_request_again_changes_nothing(made):
    before = {file: file.stat().st_mtime_ns for file in made.folder.rglob("*")}
    again = request.write(open_source("mini"), NAMED, made.folder)
    assert (again.made, again.forget) == (False, NAMED)
    assert {file: file.stat().st_mtime_ns for file in made.folder.rglob("*")} == before


@pytest.mark.parametrize("what", ["people", "data", "a file changed", "a ratio added", "no mark", "empty"])
def test_a_folder_that_is_not_this_request_stays_as_it_is(made, tmp_path, what):
    out, ids, source = tmp_path / "two", NAMED, open_source("mini")
    shutil.copytree(made.folder, out)
    if what == "people":
        ids = ("009",)
    elif what == "data":
        data = copy_mini(tmp_path / "data")
        change(data, "Retain_Set", lambda rows: rows[:5])
        source = open_source(str(data))
    elif what == "a file changed":
        change(out, "forget_5", lambda rows: rows[:1])
    elif what == "a ratio added":
        shutil.copytree(out / "forget_5", out / "forget_10")
    elif what == "no mark":
        (out / "request.yaml").unlink()
    else:
        shutil.rmtree(out)
        out.mkdir()
    before = sorted(out.rglob("*"))
    with pytest.raises(UserError, match=r"not this request's data; choose another --out"):
        request.write(source, ids, out)
    assert sorted(out.rglob("*")) == before


def test_a_request_that_fails_half_way_leaves_nothing(tmp_path, monkeypatch):
    def full(source, target):
        raise OSError(28, "No space left on device", str(target))

    monkeypatch.setattr(shutil, "copyfile", full)
    with pytest.raises(OSError, match="No space"):
        request.write(open_source("mini"), NAMED, tmp_path / "out")
    assert os.listdir(tmp_path) == []


def test_who_has_no_test_row_is_named(tmp_path):
    data = copy_mini(tmp_path / "data")
    change(data, "Test_Set", lambda rows: [row for row in rows if row["ID"] != "032"])
    assert request.write(open_source(str(data)), NAMED, tmp_path / "out").untested == ("032",)


def test_data_without_training_pairs_will_do_and_without_test_rows_not(tmp_path):
    data = copy_mini(tmp_path / "data")
    shutil.rmtree(data / "ft_Data")
    request.write(open_source(str(data)), NAMED, tmp_path / "out")
    assert not (tmp_path / "out" / "ft_Data").exists()
    shutil.rmtree(data / "Test_Set")
    open_source.cache_clear()
    with pytest.raises(UserError, match="no config Test_Set"):
        request.write(open_source(str(data)), NAMED, tmp_path / "other")


@pytest.mark.parametrize(
    ("ids", "message"),
    [
        (["9"], r"no such people in Full_Set of mini: 9; did you mean '009'\?"),
        (["O09"], r"did you mean '0\d\d'\?"),
        (["999"], "999; ids look like '001'"),
        ([f"x{n}" for n in range(9)], "x0, x1, x2, x3, x4 and more"),
        ([f"{n:03d}" for n in range(1, 61)], "none retained"),
    ],
)
def test_people_who_cannot_be_set_apart(ids, message):
    with pytest.raises(UserError, match=message):
        request.divided(open_source("mini"), ids)


def test_more_ids_than_a_file_name_can_hold():
    ids = [f"{n:03d}" for n in range(1, 501)]
    assert request.id_list(",".join(ids)) == tuple(ids)


def adapter(folder, **changes):
    """An unlearning.yaml as `mllmu unlearn --forget_ids 009,032 --data mini` writes it."""
    record = {
        "kind": "lora",
        "method": "npo",
        "base_model": {"name_or_path": "models/vanilla", "revision": None},
        "forget": {"ratio": None, "ids": list(NAMED)},
        "data": {"source": "mini", "hash": open_source("mini").hash(("Full_Set", "ft_Data"))},
        "modalities": ["image", "text"],
    }
    folder.mkdir()
    (folder / "unlearning.yaml").write_text(yaml.safe_dump(record | changes))
    return str(folder)


def test_people_and_data_of_an_adapter(tmp_path):
    record = request.of_adapter(adapter(tmp_path / "one"))
    assert request.named_people(record) == NAMED
    assert request.source_of(record, "one").name == "mini"
    nobody = {"ratio": None, "ids": []}
    retain_only = adapter(tmp_path / "two", forget=nobody, trained={"forget_set": list(NAMED)})
    assert request.named_people(request.of_adapter(retain_only)) == NAMED
    full = open_source("mini").hash(("Full_Set",))
    for modalities, data in ((["text"], full), (["image"], f"{full}+abc"), ([], full)):
        record = request.of_adapter(
            adapter(tmp_path / f"{modalities}{len(data)}", modalities=modalities, data={"source": "mini", "hash": data})
        )
        assert request.source_of(record, "x").name == "mini"


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"forget": {"ratio": 15, "ids": ["009"]}}, "--forget_ratio 15: --tasks mllmu_15 asks about its people"),
        ({"forget": {"ratio": None, "ids": []}}, "names nobody who was forgotten"),
        ({"forget": None}, "not what `mllmu unlearn` writes"),
    ],
)
def test_adapters_without_named_people(tmp_path, changes, message):
    with pytest.raises(UserError, match=message):
        request.of_adapter(adapter(tmp_path / "one", **changes))


def test_an_adapter_of_other_data_and_a_folder_that_is_none(tmp_path):
    data = copy_mini(tmp_path / "data")
    retype(data, "ft_Data", lambda table: table.slice(1))
    record = request.of_adapter(adapter(tmp_path / "one"))
    with pytest.raises(UserError, match=r"other data than .*Full_Set and ft_Data differ"):
        request.source_of(record, "one", str(data))
    moved = request.of_adapter(adapter(tmp_path / "two", data={"source": "local folder 'x'", "hash": ""}))
    with pytest.raises(UserError, match="give them as --data"):
        request.source_of(moved, "two")
    (tmp_path / "none").mkdir()
    with pytest.raises(UserError, match=r"no unlearning\.yaml"):
        request.of_adapter(str(tmp_path / "none"))


def test_shots_of_a_request_come_from_its_people(made):
    """With examples shown, the shown people are not asked about: why the commands say MLLMU_SHOTS=0."""
    leaf = Leaf.parse("mllmu_forget_classification_text")
    rows = build_leaf(open_source(str(made.folder)), leaf, Settings(shots=(1, 1))).rows
    assert len(Counter(row["person"] for row in rows)) == 1
