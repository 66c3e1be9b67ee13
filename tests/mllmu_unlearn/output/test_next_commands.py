"""The commands that evaluate a result, as its card and the end of its run name them."""

import shlex

import pytest

from mllmu_unlearn.output import next_commands

RECORD = {
    "kind": "lora",
    "base_model": {"name_or_path": "models/vanilla", "revision": None},
    "forget": {"ratio": 15, "ids": ["004", "005"]},
    "data": {"source": "MLLMMU/MLLMU-Bench"},
}
SAVED = "--batch_size auto --log_samples --output_path results/npo"
NAMED = RECORD | {"forget": {"ratio": None, "ids": ["004", "005"]}}


def test_a_ratio_has_tasks_of_its_own():
    (line,) = next_commands.commands(RECORD, "adapters/npo")
    plain = "lmms-eval --model mllmu_hf --model_args pretrained=models/vanilla,peft=adapters/npo --tasks mllmu_15"
    assert line == f"{plain} {SAVED}"


def test_other_data_than_the_default_are_named(tmp_path):
    for source in ("mini", "owner/copy", str(tmp_path)):
        (line,) = next_commands.commands(RECORD | {"data": {"source": source}}, "adapters/npo")
        assert line.startswith(f"MLLMU_DATA={source} lmms-eval ")
    (line,) = next_commands.commands(
        RECORD | {"data": {"source": "local folder 'mine'"}}, "adapters/npo"
    )  # as published
    assert line.startswith("lmms-eval ")


def test_named_people_need_data_first():
    make, evaluate = next_commands.commands(NAMED, "adapters/npo")
    assert make == "mllmu data request --adapter adapters/npo --out requests/npo"
    assert evaluate == (
        "MLLMU_DATA=requests/npo MLLMU_SHOTS=0 lmms-eval --model mllmu_hf --model_args "
        "pretrained=models/vanilla,peft=adapters/npo --tasks mllmu --batch_size auto --log_samples "
        "--output_path results/npo"
    )
    retain_only = RECORD | {"forget": {"ratio": None, "ids": []}, "trained": {"forget_set": ["004"]}}
    assert next_commands.commands(retain_only, "adapters/npo") == [make, evaluate]
    everyone = RECORD | {"forget": {"ratio": None, "ids": []}, "trained": {"forget_set": []}}
    (line,) = next_commands.commands(everyone, "models/vanilla")
    assert " --tasks mllmu --batch_size" in line


def test_a_place_with_a_space_stays_one_word():
    make, evaluate = (shlex.split(line) for line in next_commands.commands(NAMED, "my adapters/n 1"))
    assert make[-3:] == ["my adapters/n 1", "--out", "requests/n 1"]
    assert "MLLMU_DATA=requests/n 1" in evaluate
    assert "pretrained=models/vanilla,peft=my adapters/n 1" in evaluate


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"kind": "full"}, "pretrained=out"),
        ({"kind": "prompt"}, "pretrained=models/vanilla,peft=out"),
        ({"base_model": {"name_or_path": "a/b", "revision": "v2"}}, "pretrained=a/b,revision=v2,peft=out"),
    ],
)
def test_how_it_is_opened(changes, expected):
    assert next_commands.opened_by(RECORD | changes, "out") == expected
