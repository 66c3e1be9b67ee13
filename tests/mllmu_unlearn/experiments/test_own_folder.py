import pytest

from mllmu_tasks.errors import UserError
from mllmu_unlearn.experiments.own_folder import MARKER, check, mark


def test_a_new_or_empty_folder_becomes_ours_and_stays_ours(tmp_path):
    for name in ("new/deep", "empty"):
        folder = tmp_path / name
        if name == "empty":
            folder.mkdir()
        check(folder, "mllmu sweep")
        mark(folder, "mllmu sweep")
        (folder / "table.md").write_text("ours")
        mark(folder, "mllmu sweep")
        check(folder, "mllmu sweep")
        with pytest.raises(UserError, match="belongs to `mllmu sweep`; choose another --out"):
            check(folder, "mllmu demo")


def test_a_foreign_folder_is_refused_and_stays_as_it_is(tmp_path):
    (tmp_path / "table.md").write_text("theirs")
    with pytest.raises(UserError, match="is not empty and was not made by `mllmu demo`"):
        mark(tmp_path, "mllmu demo")
    assert [file.name for file in tmp_path.iterdir()] == ["table.md"]
    with pytest.raises(UserError, match="is a file"):
        mark(tmp_path / "table.md", "mllmu demo")
    (tmp_path / MARKER).write_bytes(b"\xff")
    with pytest.raises(UserError, match="UTF-8"):
        mark(tmp_path, "mllmu demo")
