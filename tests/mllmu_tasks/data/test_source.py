import io
import json
import re
import shutil
import struct
import tracemalloc
import zlib

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from data_sets import change, copy_mini, retype
from PIL import Image

from mllmu_tasks.benchmarks.mllmu.validate import validate
from mllmu_tasks.data.source import open_source
from mllmu_tasks.errors import UserError


def test_the_same_content_has_the_same_hash_wherever_it_lies(data, fresh):
    assert fresh(data).hash(["Full_Set", "forget_5"]) == open_source("mini").hash(["forget_5", "Full_Set"])
    assert fresh(data).hash(["Full_Set"]) != fresh(data).hash(["forget_5"])


def test_all_data_together_have_a_name_that_any_config_changes(data, fresh, tmp_path):
    """Leaves read different configs: what they share is the whole."""
    whole = fresh(data).whole("Full_Set")
    assert whole == open_source("mini").whole("forget_15")
    shutil.rmtree(data / "ft_Data", ignore_errors=True)  # holds no questions
    assert fresh(data).whole("Full_Set") == whole
    change(copy_mini(tmp_path / "other"), "forget_15", lambda rows: rows[:-1])
    assert fresh(tmp_path / "other").whole("Full_Set") != whole


def test_a_hub_snapshot_is_known_by_its_commit(tmp_path, monkeypatch):
    file = tmp_path / "snapshots" / "abc123" / "Full_Set" / "0.parquet"
    file.parent.mkdir(parents=True)
    file.touch()
    monkeypatch.setattr("huggingface_hub.snapshot_download", lambda *_, **__: str(file.parents[1]))
    assert open_source("o/n").whole("Full_Set") == "o/n@abc123"


def test_one_object_a_process_and_configs_are_read_once(data, fresh, monkeypatch):
    source = fresh(data)
    assert open_source(str(data)) is source
    first = source.people("Full_Set")
    monkeypatch.setattr(pq, "read_table", lambda *_, **__: pytest.fail("read again"))
    assert source.people("Full_Set") is first


@pytest.mark.parametrize(
    ("spec", "remedy"), [("./nowhere", "MLLMU_DATA"), ("a b/c", "MLLMU_DATA"), ("no/such-data", "MLLMU_DATA=mini")]
)
def test_unknown_data_names_the_remedy(spec, remedy):
    with pytest.raises(UserError, match=remedy):
        open_source(spec).people("Full_Set")


def encoded(image: Image.Image, form: str, **options) -> bytes:
    out = io.BytesIO()
    image.save(out, form, **options)
    return out.getvalue()


@pytest.mark.parametrize(
    ("mode", "form"), [("CMYK", "JPEG"), ("P", "PNG"), ("RGBA", "PNG"), ("LA", "PNG"), ("I;16", "PNG"), ("1", "PNG")]
)
def test_every_mode_becomes_rgb(data, fresh, mode, form):
    picture = encoded(Image.new(mode, (8, 6)), form)
    change(data, "Full_Set", lambda rows: rows[0].update(image={"bytes": picture, "path": None}))
    source = fresh(data)
    image = source.image(source.people("Full_Set")[0])
    assert (image.mode, image.size) == ("RGB", (8, 6))


NOISE = Image.effect_noise((64, 64), 50).convert("RGB")
JPEG, PNG, GIF, PROGRESSIVE = (
    encoded(NOISE, "JPEG"),
    encoded(NOISE, "PNG"),
    encoded(NOISE, "GIF"),
    encoded(NOISE, "JPEG", progressive=True),
)
WITH_THUMBNAIL = JPEG[:2] + b"\xff\xe1" + (len(JPEG) + 2).to_bytes(2, "big") + JPEG + JPEG[2:]
UNREADABLE = {
    "no image": b"no image",
    "empty": b"",
    "null": None,
    **{
        f"{name} cut at {part}": whole[: int(len(whole) * part)]
        for name, whole in (("jpeg", JPEG), ("png", PNG), ("gif", GIF), ("progressive", PROGRESSIVE))
        for part in (0.3, 0.9)
    },
    "jpeg with the end of its thumbnail only": WITH_THUMBNAIL[:-200],
}


@pytest.mark.parametrize("name", UNREADABLE)
def test_an_unreadable_image_is_named_and_never_shown(data, fresh, name):
    change(data, "Full_Set", lambda rows: rows[3].update(image={"bytes": UNREADABLE[name], "path": None}))
    source = fresh(data)
    person = source.people("Full_Set")[3]
    assert source.image_problem(person)
    assert source.image_problem(person, decode=True)
    with pytest.raises(UserError, match=r"person 004: Full_Set, row 3") as raised:
        source.image(person)
    assert "0x" not in str(raised.value)


def claiming(width: int, height: int) -> bytes:
    """A PNG of a few bytes that says it is so large."""
    head = b"IHDR" + struct.pack(">II", width, height) + PNG[24:29]
    return PNG[:12] + head + struct.pack(">I", zlib.crc32(head)) + PNG[33:]


@pytest.mark.parametrize(("size", "limit"), [((9000, 9000), "standard"), ((60_000, 60_000), None)])
def test_an_image_of_absurd_size_is_never_decoded(data, fresh, monkeypatch, size, limit):
    """Whatever limit a backend sets for the whole process."""
    if limit is None:
        monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", None)
    change(data, "Full_Set", lambda rows: rows[3].update(image={"bytes": claiming(*size), "path": None}))
    source = fresh(data)
    person = source.people("Full_Set")[3]
    assert f"{size[0]} x {size[1]} pixels are more than" in source.image_problem(person)
    with pytest.raises(UserError, match="pixels are more than"):
        source.image(person)


def test_an_image_that_a_program_would_have_to_draw_is_refused(data, fresh):
    picture = encoded(NOISE, "EPS")
    change(data, "Full_Set", lambda rows: rows[3].update(image={"bytes": picture, "path": None}))
    source = fresh(data)
    assert "the format EPS is not read" in source.image_problem(source.people("Full_Set")[3])


def test_large_decoded_pictures_are_not_all_kept(data, fresh):
    picture = encoded(Image.new("RGB", (4096, 4096)), "PNG")  # 48 MiB as RGB

    def edit(rows):
        for row in rows[:8]:
            row["image"] = {"bytes": picture, "path": None}

    change(data, "Full_Set", edit)
    source = fresh(data)
    for person in source.people("Full_Set")[:8]:
        assert source.image(person).size == (4096, 4096)
    assert len(source._store("Full_Set").decoded) == 5


@pytest.mark.parametrize(
    "whole", [JPEG, PNG, GIF, PROGRESSIVE, WITH_THUMBNAIL, JPEG + b"behind", JPEG[:-2], encoded(NOISE, "WEBP")]
)
def test_whole_images_pass_however_they_end(data, fresh, whole):
    change(data, "Full_Set", lambda rows: rows[3].update(image={"bytes": whole, "path": None}))
    source = fresh(data)
    person = source.people("Full_Set")[3]
    assert source.image_problem(person) is None
    assert source.image_problem(person, decode=True) is None
    assert source.image(person).size == (64, 64)


def test_training_rows_find_their_person_by_metadata_id_column_or_face(data, fresh):
    def strip(rows):
        for row in rows:
            pairs = json.loads(row["metadata"])
            for pair in pairs:
                del pair["ID"]
            row["metadata"] = json.dumps(pairs)

    expected = [row.person for row in open_source("mini").training_rows("ft_Data")]
    change(data, "ft_Data", strip)
    assert [row.person for row in fresh(data).training_rows("ft_Data")] == expected
    retype(data, "ft_Data", lambda t: t.append_column("ID", pa.array([str(n) for n in range(t.num_rows)])))
    assert fresh(data).training_rows("ft_Data")[7].person == "7"


def test_benchmark_splits_are_not_taken_for_training_data(data, fresh):
    with pytest.raises(UserError, match="benchmark questions, not training pairs"):
        fresh(data).training_rows("forget_5")
    assert fresh(data / "baseline_train_split").training_rows("forget_5")[0].pairs


def test_a_broken_parquet_file_is_one_sentence(data, fresh):
    (file,) = (data / "Full_Set").glob("*.parquet")
    file.write_bytes(file.read_bytes()[:-100])
    with pytest.raises(UserError, match=r"config Full_Set .* unreadable"):
        fresh(data).people("Full_Set")


STRUCTURAL = {
    "no rows": (lambda d: change(d, "forget_5", lambda rows: []), "forget_5.*no rows"),
    "duplicate": (lambda d: change(d, "Full_Set", lambda rows: [*rows, rows[0]]), "duplicate IDs: 001"),
    "column": (lambda d: retype(d, "Test_Set", lambda t: t.drop_columns("Mask_Task")), "Test_Set.*Mask_Task"),
    "type": (lambda d: retype(d, "Full_Set", _numbers_for("Mask_Task")), "Full_Set.*person 001: Mask_Task is int"),
    "field": (
        lambda d: retype(d, "Full_Set", _renamed),
        "Classification_Task has no field Image_Textual_Questions",
    ),
    "metadata": (
        lambda d: change(d, "ft_Data", lambda r: r[2].update(metadata='[{"Question": "Age?", "Answer": 40}]')),
        "ft_Data.*row 2, pair 0: Answer is 40, not a text",
    ),
    "unknown": (lambda d: change(d, "forget_5", lambda r: r[0].update(ID="999")), "forget_5 .*names people.*999"),
    "overlap": (lambda d: change(d, "retain_95", lambda r: r[0].update(ID=_first(d))), "holds the same people in"),
}


def _numbers_for(column):
    return lambda t: t.set_column(t.schema.get_field_index(column), column, pa.array(range(t.num_rows)))


def _renamed(table):
    rows = table.column("Classification_Task").to_pylist()
    new = [
        {"Image_Questions": r["Image_Textual_Questions"], "Pure_Text_Questions": r["Pure_Text_Questions"]} for r in rows
    ]
    return table.set_column(table.schema.get_field_index("Classification_Task"), "Classification_Task", pa.array(new))


def _first(folder) -> str:
    (file,) = (folder / "forget_5").glob("*.parquet")
    return pq.read_table(file, columns=["ID"]).to_pylist()[0]["ID"]


@pytest.mark.parametrize("name", STRUCTURAL)
def test_structural_errors_are_reported_by_validate(data, fresh, name):
    spoil, sentence = STRUCTURAL[name]
    spoil(data)
    (error,) = validate(fresh(data)).structural
    assert re.search(sentence, error), error


def test_defects_are_named_and_do_not_stop(data, fresh, monkeypatch):
    """But for the forget_5 of three people, one of whom has no test row."""

    def spoil(rows):
        questions = rows[0]["Classification_Task"]["Pure_Text_Questions"]
        questions[0]["Correct_Answer"] = "nobody"
        right = questions[1]["Correct_Answer"]
        questions[1]["Options"]["A" if right != "A" else "B"] = None
        rows[1]["Mask_Task"][0]["Ground_Truth"] = ""
        rows[2]["Generation_Task"] = None
        rows[3]["image"] = {"bytes": b"x", "path": None}

    change(data, "Full_Set", spoil)
    change(data, "Test_Set", lambda rows: [row for row in rows if row["ID"] != _first(data)])
    report = validate(fresh(data))
    assert len(report.structural) == 6
    assert all(s.startswith("mllmu_test_") and "not in Test_Set" in s for s in report.structural)
    monkeypatch.setenv("MLLMU_MAY_LOSE", "0.5")
    report = validate(fresh(data))
    assert report.structural == ()
    problems = [str(defect) for defect in report.defects]
    for wanted in ("none of the options", "is missing", "empty", "is null", "unreadable image", "the rest is scored"):
        assert any(wanted in problem for problem in problems), wanted


def test_an_absent_directory_column_is_fine(data, fresh):
    retype(data, "Full_Set", lambda table: table.drop_columns("Directory"))
    report = validate(fresh(data))
    assert (report.structural, report.defects) == ((), ())


def test_data_without_training_pairs_is_fine_for_evaluation(data, fresh):
    for file in (data / "ft_Data").iterdir():
        file.unlink()
    report = validate(fresh(data))
    assert report.structural == ()
    assert "nothing to train on" in report.notes[0]


def test_images_are_not_held_twice(tmp_path, fresh):
    """Asking for all images of a config costs their encoded bytes once, and no decoded copies."""
    from mllmu_tasks.benchmarks.mini import write

    write(tmp_path / "data", people=40, seed=1)
    noise = encoded(Image.effect_noise((256, 256), 50).convert("RGB"), "PNG")
    change(
        tmp_path / "data",
        "retain_95",
        lambda rows: [row | {"image": {"bytes": noise, "path": None}} for row in rows],
    )
    source = fresh(tmp_path / "data")
    people = source.people("retain_95")
    tracemalloc.start()
    before = pa.total_allocated_bytes()
    source.want_images(people)
    assert all(source.image_problem(person) is None for person in people)
    grown = pa.total_allocated_bytes() - before + tracemalloc.get_traced_memory()[0]
    tracemalloc.stop()
    assert grown < 1.1 * len(noise) * len(people) + 200_000


def test_celebrities_with_the_id_of_a_fictitious_person_are_noted(data, fresh):
    """The official code would show the fictitious person as an example; ours never does."""

    def edit(rows):
        rows[0]["ID"] = "001"

    change(data, "Retain_Set", edit)
    report = validate(fresh(data))
    assert not report.structural
    (note,) = report.notes
    assert note.startswith("1 ids of Retain_Set are in Full_Set, too (001)")
