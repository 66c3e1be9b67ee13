"""Every shipped recipe is a valid configuration of its command."""

from importlib.resources import files

import pytest
import yaml

from mllmu_unlearn import methods
from mllmu_unlearn.config import FinetuneConfig, UnlearnConfig, parse

RECIPES = sorted(path.name for path in (files("mllmu_unlearn") / "recipes").iterdir() if path.name.endswith(".yaml"))


@pytest.mark.parametrize("name", RECIPES)
def test_recipe_parses(name):
    file = files("mllmu_unlearn") / "recipes" / name
    values = yaml.safe_load(file.read_text())
    where = ["--config", str(file), "--model_name_or_path", "m", "--output_dir", "o"]
    if "method" not in values:
        assert parse(FinetuneConfig, where).method == "finetune"
        return
    people = [] if {"forget_ratio", "forget_ids"} & set(values) else ["--forget_ratio", "5"]
    config = parse(UnlearnConfig, [*where, *people])
    assert config.method == values["method"]
    if config.chosen.trains:
        assert config.learning_rate == values["learning_rate"]
        assert config.num_train_epochs == values.get("num_train_epochs", config.num_train_epochs)


def test_every_method_has_a_recipe():
    assert {f"{name}.yaml" for name in methods.names()} <= set(RECIPES)
