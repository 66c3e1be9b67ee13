"""`mllmu data info|validate|mini` as a user meets them: output and exit codes."""

import shlex

import pytest
from data_sets import change, copy_mini

from mllmu_tasks.benchmarks.mini import checkpoint
from mllmu_tasks.benchmarks.mllmu.questions import leaf_questions
from mllmu_tasks.benchmarks.mllmu.settings import Settings
from mllmu_tasks.benchmarks.mllmu.spec import leaves


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


def test_texts_of_the_data_reach_the_terminal_as_one_bounded_line(mllmu, tmp_path):
    data = copy_mini(tmp_path / "data")
    gold = "\x1b]0;owned\x07\ndefect: none\u202e" + "x" * 100_000
    change(
        data,
        "Retain_Set",
        lambda rows: rows[0]["Classification_Task"]["Pure_Text_Questions"][0].update(Correct_Answer=gold),
    )
    code, out, _ = mllmu("data", "validate", data)
    assert code == 0
    (line,) = [line for line in out.splitlines() if line.startswith("defect: ")]
    assert "none of the options" in line
    assert line.isprintable()
    assert len(line) < 700


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


def forget(mllmu, *more):
    """A result without training; what its run printed."""
    model = ("--model_name_or_path", checkpoint("vanilla"), "--data", "mini")
    code, out, err = mllmu("unlearn", "--method", "prompting", *model, *more)
    assert code == 0, err
    return out


def test_from_a_deletion_request_to_the_questions_about_exactly_its_people(mllmu, tmp_path, monkeypatch):
    """By the printed commands themselves."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("MLLMU_DATA", raising=False)
    last = forget(mllmu, "--forget_ids", "032,009", "--output_dir", "adapters/two").splitlines()
    assert last[0] == "mllmu: adapters/two is finished; to evaluate it on the people of --forget_ids:"
    make, evaluate = map(shlex.split, last[1:])
    assert make[0] == "mllmu"
    code, out, _ = mllmu(*make[1:])
    assert code == 0
    assert "forget_5 holds 2 and retain_95 58 people" in out
    assert out.splitlines()[-1] == last[-1]
    for setting in evaluate[:2]:
        monkeypatch.setenv(*setting.split("="))
    assert evaluate[evaluate.index("--tasks") + 1] == "mllmu"
    asked = {}
    for leaf in leaves(5):
        rows = leaf_questions(leaf, Settings.from_environment()).rows
        asked.setdefault(leaf.split, set()).update((row["person"], row["task"], row["modality"]) for row in rows)
    for split in ("forget", "test"):
        assert {person for person, *_ in asked[split]} == {"009", "032"}
        assert len(asked[split]) == 2 * 3 * 2
    assert len({person for person, *_ in asked["retain"]}) == 58
    assert not {"009", "032"} & {person for person, *_ in asked["retain"]}
    shown = (tmp_path / "adapters/two/README.md").read_text()
    assert (
        "mllmu data request --adapter two --out requests/two\nMLLMU_DATA=requests/two MLLMU_SHOTS=0 lmms-eval" in shown
    )


def test_a_result_of_a_ratio_needs_no_data_of_its_own(mllmu, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    out = forget(mllmu, "--forget_ratio", "15", "--output_dir", "some")
    assert "data request" not in out
    line = out.splitlines()[-1]
    assert line.strip().startswith("MLLMU_DATA=mini lmms-eval ")
    assert line.endswith("--tasks mllmu_15 --batch_size auto --log_samples --output_path results/some")
    code, _, err = mllmu("data", "request", "--adapter", "some", "--out", "requests/some")
    assert code == 2
    assert "--tasks mllmu_15" in err


def test_a_request_by_ids_and_what_it_refuses(mllmu, tmp_path):
    file, out = tmp_path / "ids.txt", tmp_path / "two"
    file.write_text("009\n032\n")
    assert (
        "is made: forget_5 holds 2 "
        in mllmu("data", "request", "--forget_ids", file, "--data", "mini", "--out", out)[1]
    )
    again = mllmu("data", "request", "--forget-ids", "032,009", "--data", "mini", "--out", out)
    assert "was there already, unchanged" in again[1]
    assert mllmu("data", "validate", out)[0] == 0
    for arguments, message in (
        (("--forget_ids", "010", "--data", "mini"), "not this request's data"),
        (("--forget_ids", "9", "--data", "mini"), "did you mean '009'?"),
        (("--forget_ids", "009", "--adapter", tmp_path), "one of them"),
        (("--data", "mini"), "one of them"),
    ):
        code, _, err = mllmu("data", "request", *arguments, "--out", out)
        assert code == 2
        assert message in err
