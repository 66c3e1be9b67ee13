"""`mini:vanilla` is understood wherever a model is named."""

import pytest

from mllmu_tasks.benchmarks.mini import checkpoint, model_path
from mllmu_tasks.errors import UserError
from mllmu_tasks.harness.hf import MllmuHf
from mllmu_unlearn.config.commands import UnlearnConfig, parse

FLAGS = ("--method", "npo", "--forget_ratio", "5", "--output_dir", "out", "--data", "mini")


def test_shipped_models_have_short_names():
    assert model_path("mini:vanilla") == str(checkpoint("vanilla"))
    assert model_path("llava-hf/llava-1.5-7b-hf") == "llava-hf/llava-1.5-7b-hf"
    with pytest.raises(UserError, match="Did you mean 'vanilla'"):
        model_path("mini:vanila")


def test_training_takes_them_as_start_and_as_reference():
    flags = ("--model_name_or_path", "mini:vanilla", "--reference_model", "mini:retain_only")
    config = parse(UnlearnConfig, [*FLAGS, *flags])
    assert config.model_name_or_path == str(checkpoint("vanilla"))
    assert config.reference_model == str(checkpoint("retain_only"))


def test_evaluation_takes_them(capsys):
    assert MllmuHf(pretrained="mini:vanilla", device="cpu").name == "vanilla"
    with pytest.raises(SystemExit):
        MllmuHf(pretrained="mini:vanila", device="cpu")
    assert "Did you mean 'vanilla'" in capsys.readouterr().err
