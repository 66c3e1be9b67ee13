"""Every shipped recipe is a valid configuration of its command."""

import pytest
import yaml
from typer.testing import CliRunner

from mllmu_tasks.errors import UserError
from mllmu_unlearn import methods
from mllmu_unlearn.cli.main import app
from mllmu_unlearn.config.commands import FinetuneConfig, UnlearnConfig, parse
from mllmu_unlearn.recipes import find_recipe, recipe_names

RUNS = [name for name in recipe_names() if not name.startswith("sweeps/")]


@pytest.mark.parametrize("name", RUNS)
def test_recipe_parses(name):
    values = yaml.safe_load(find_recipe(name).read_text())
    where = ["--config", name, "--model_name_or_path", "m", "--output_dir", "o"]
    if "method" not in values:
        assert parse(FinetuneConfig, where).method == "finetune"
        return
    people = [] if {"forget_ratio", "forget_ids"} & set(values) else ["--forget_ratio", "5"]
    config = parse(UnlearnConfig, [*where, *people])
    assert config.method == values["method"]
    if config.chosen.trains:
        assert config.learning_rate == values["learning_rate"]
        assert config.num_train_epochs == values.get("num_train_epochs", config.num_train_epochs)


def test_every_method_has_a_recipe_and_one_for_the_mini_benchmark():
    shipped = {name for name in methods.names() if "." not in name}
    assert shipped <= set(RUNS)
    assert {f"mini/{name}" for name in shipped} <= set(RUNS)


def test_a_misspelt_recipe_names_the_nearest():
    with pytest.raises(UserError, match=r"there is no file and no recipe 'mini/npoo'\. Did you mean 'mini/npo'"):
        find_recipe("mini/npoo")


def test_a_file_of_the_user_goes_before_a_recipe_of_that_name(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "npo").write_text("method: npo\n")
    assert find_recipe("npo").resolve() == tmp_path / "npo"


def test_the_command_lists_prints_and_copies(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    run = CliRunner().invoke
    assert "mini/npo " in run(app, ["recipes"]).output
    assert run(app, ["recipes", "mini/npo"]).output == find_recipe("mini/npo").read_text()
    assert run(app, ["recipes", "mini/npo", "--out", "mine.yaml"]).exit_code == 0
    assert (tmp_path / "mine.yaml").read_text() == find_recipe("mini/npo").read_text()
    again = run(app, ["recipes", "mini/npo", "--out", "mine.yaml"])
    assert isinstance(again.exception, UserError)
