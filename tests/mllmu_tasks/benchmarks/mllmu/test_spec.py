import pytest

from mllmu_tasks.benchmarks.mllmu.settings import Settings
from mllmu_tasks.benchmarks.mllmu.spec import Leaf, group_name, leaves
from mllmu_tasks.errors import UserError, did_you_mean, stop


def test_names_and_coordinates_are_each_others_inverse():
    names = [leaf.name for leaf in leaves()]
    assert len(set(names)) == 60
    assert [Leaf.parse(name) for name in names] == list(leaves())
    assert len(list(leaves(10))) == 24


@pytest.mark.parametrize("name", ["mllmu_forget_5_cloze_image", "mllmu_real_10_cloze_text", "mllmu_forget", "mmmu_val"])
def test_other_names_are_no_leaves(name):
    with pytest.raises(ValueError, match="no leaf task of MLLMU-Bench"):
        Leaf.parse(name)


def test_the_default_ratio_is_not_spelt():
    assert [group_name(None, 5), group_name(None, 15), group_name("test", 10)] == ["mllmu", "mllmu_15", "mllmu_test_10"]


def test_settings_come_from_the_environment():
    environ = {"MLLMU_DATA": "mini", "MLLMU_SEED": "3", "MLLMU_SHOTS": "1, 1", "MLLMU_SHOT_QUESTIONS": "2"}
    assert Settings.from_environment(environ) == Settings("mini", 3, (1, 1), 2)
    assert Settings.from_environment({"MLLMU_SHOTS": "0"}).shots == (0, 0)
    assert Settings.from_environment({}) == Settings()


@pytest.mark.parametrize(
    "environ", [{"MLLMU_SEED": "x"}, {"MLLMU_SEED": "-1"}, {"MLLMU_SHOTS": "2"}, {"MLLMU_SHOTS": "1,2,3"}]
)
def test_settings_that_do_not_parse_name_the_variable(environ):
    with pytest.raises(UserError, match=next(iter(environ))):
        Settings.from_environment(environ)


def test_an_error_is_one_line_and_exit_code_two(capsys):
    with pytest.raises(SystemExit) as leaving:
        stop(UserError("no data; set MLLMU_DATA."))
    assert leaving.value.code == 2
    assert capsys.readouterr().err == "mllmu: error: no data; set MLLMU_DATA.\n"
    assert did_you_mean("retian", ["retain", "real"]) == " Did you mean 'retain'?"
    assert did_you_mean("zzz", ["b", "a"]) == " Known: a, b."
