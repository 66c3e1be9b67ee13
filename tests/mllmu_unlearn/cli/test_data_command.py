"""`mllmu data info|validate|mini` as a user meets them: output and exit codes."""

import pytest
from data_sets import change, copy_mini


def test_sound_data(mllmu):
    for command in ("info", "validate"):
        code, out, _ = mllmu("data", command, "mini")
        assert code == 0
        assert "0 structural errors, 0 defects" in out
        assert "Full_Set" in out


def test_one_defect_is_named_on_one_line_and_does_not_stop(mllmu, tmp_path):
    data = copy_mini(tmp_path / ("a long name " * 9) / "data")
    change(data, "Retain_Set", lambda rows: rows[0]["Mask_Task"][0].update(Ground_Truth=""))
    for command in ("info", "validate"):
        code, out, _ = mllmu("data", command, data)
        assert code == 0
        assert "\ndefect: Retain_Set, person C001, cloze " in out
        assert out.endswith("0 structural errors, 1 defect\n")


def test_a_broken_config_is_an_error_of_validate_on_one_line(mllmu, tmp_path):
    data = copy_mini(tmp_path / ("a long name " * 9) / "data")
    (file,) = (data / "Test_Set").glob("*.parquet")
    file.write_bytes(file.read_bytes()[:-100])
    code, out, _ = mllmu("data", "validate", data)
    assert code == 2
    (line,) = [line for line in out.splitlines() if line.startswith("structural error: ")]
    assert line.endswith("fetch it again.")
    assert out.endswith("1 structural error, 0 defects\n")
    assert mllmu("data", "info", data)[0] == 0


@pytest.mark.parametrize("command", ["info", "validate"])
@pytest.mark.parametrize("what", ["MLLMMU/MLLMU-Bench", "an empty folder"])
def test_nothing_to_read_is_an_error_of_both(mllmu, tmp_path, monkeypatch, command, what):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "an empty folder").mkdir()
    code, out, _ = mllmu("data", command, what)
    assert code == 2
    assert out.count("MLLMU_DATA") >= 1


def test_mini_makes_a_sound_data_set_and_never_writes_over_one(mllmu, tmp_path):
    out = tmp_path / "made"
    assert mllmu("data", "mini", "--people", 20, "--out", out)[0] == 0
    assert mllmu("data", "validate", out)[0] == 0
    code, _, err = mllmu("data", "mini", "--out", out)
    assert code == 2
    assert "exists already" in err


@pytest.mark.parametrize("command", [("data", "mini"), ("demo",)])
@pytest.mark.parametrize("place", ["/proc/nowhere", "{}/a file/here"])
def test_a_place_that_cannot_be_written_is_one_sentence(mllmu, tmp_path, command, place):
    (tmp_path / "a file").write_text("")
    code, _, err = mllmu(*command, "--out", place.format(tmp_path))
    assert code == 2
    assert err.splitlines()[-1].startswith("mllmu: error: ")
    assert err.count("mllmu: error: ") == 1
