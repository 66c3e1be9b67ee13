"""Which files are data: no hidden ones, nothing that is no file, and no half of a set."""

import os
import shutil

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from data_sets import retype

from mllmu_tasks.data.request import hashes
from mllmu_tasks.errors import UserError


def test_hidden_files_are_no_data(data, fresh):
    before = fresh(data).hash(["Full_Set"]), hashes(data)
    (data / "Full_Set" / "._train-00000-of-00001.parquet").write_bytes(b"\0\5\26\7Mac OS X")
    assert len(fresh(data).people("Full_Set")) == 60
    assert (fresh(data).hash(["Full_Set"]), hashes(data)) == before


@pytest.mark.parametrize("what", ["pipe", "folder", "dead link", "device"])
def test_what_is_no_file_is_refused_and_not_waited_for(data, fresh, what):
    place = data / "Full_Set" / "more.parquet"
    if what == "pipe":
        os.mkfifo(place)
    elif what == "folder":
        place.mkdir()
    else:
        place.symlink_to("/dev/zero" if what == "device" else "nowhere")
    with pytest.raises(UserError, match=r"more.parquet' is no file"):
        fresh(data).people("Full_Set")


def test_half_of_a_set_is_not_the_set(data, fresh):
    (file,) = (data / "Test_Set").glob("*.parquet")
    file.rename(file.with_name("train-00000-of-00002.parquet"))
    with pytest.raises(UserError, match="1 of the 2 parts of train; fetch it again"):
        fresh(data).people("Test_Set")
    shutil.copy(file.with_name("train-00000-of-00002.parquet"), file)
    with pytest.raises(UserError, match="of 1 and of 2 parts"):
        fresh(data).people("Test_Set")


@pytest.mark.parametrize("column", ["image", "biography", "Mask_Task"])
def test_files_of_a_config_have_the_same_columns(data, fresh, column):
    """A column of the first file alone would be lost, or end in a stack trace."""
    (file,) = (data / "Full_Set").glob("*.parquet")
    table = pq.read_table(file)
    file.unlink()
    pq.write_table(table.slice(0, 30).drop_columns(column), data / "Full_Set" / "a.parquet")
    pq.write_table(table.slice(30), data / "Full_Set" / "b.parquet")
    with pytest.raises(UserError, match=f"only some of its files have the column {column}"):
        fresh(data).people("Full_Set")


def test_a_damaged_image_column_is_one_sentence(data, fresh):
    (file,) = (data / "forget_15").glob("*.parquet")
    start = pq.ParquetFile(file).metadata.row_group(0).column(0).data_page_offset
    content = bytearray(file.read_bytes())
    content[start : start + 40] = bytes(40)
    file.write_bytes(content)
    source = fresh(data)
    with pytest.raises(UserError, match="forget_15: the images are unreadable"):
        source.image_problem(source.people("forget_15")[0])


def test_text_that_is_no_text_is_one_sentence(data, fresh):
    def edit(table):
        bad = pa.array([b"\xff\xfe"] * table.num_rows, pa.binary()).view(pa.string())
        return table.set_column(table.schema.get_field_index("biography"), "biography", bad)

    retype(data, "Full_Set", edit)
    with pytest.raises(UserError, match=r"Full_Set .* is unreadable"):
        fresh(data).people("Full_Set")
