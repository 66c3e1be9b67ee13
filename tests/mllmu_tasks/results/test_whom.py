from pathlib import Path

import pytest
import yaml

from mllmu_tasks.benchmark import Leaf
from mllmu_tasks.results.runs import Run, Sample
from mllmu_tasks.results.sides import Side
from mllmu_tasks.results.whom import notes


def side(model_args: str, **people: str) -> Side:
    """One question about each of these people (a letter each), by split."""
    leaves = {split: Leaf.parse(f"mllmu_{split}_cloze_text") for split in people}
    samples = tuple(
        Sample(leaves[split], person, 0, 1.0, "", "", True, True, {}) for split in people for person in people[split]
    )
    run = Run(Path("x_results.json"), "mllmu_hf", model_args, "x", None, {}, tuple(leaves.values()), samples)
    return Side("results", (run,), {}, {}, ())


@pytest.fixture
def adapter(tmp_path) -> Path:
    folder = tmp_path / "two"
    folder.mkdir()
    (folder / "unlearning.yaml").write_text(yaml.safe_dump({"forget": {"ratio": None, "ids": ["a", "b"]}}))
    return folder


@pytest.mark.parametrize("given", ["pretrained=m,peft={}", "pretrained={}"])
def test_questions_about_other_people_are_noted(adapter, given):
    (note,) = notes(side(given.format(adapter), forget="acdefghi", retain="bz"))
    assert note.startswith("the forget questions are about c, d, e, f, g and 2 more, whom 'two' did not forget")
    assert "the retain questions are about b, whom 'two' forgot; evaluate it with its own ratio" in note
    assert notes(side(given.format(adapter), forget="ab", retain="yz")) == []
    assert notes(side(given.format(adapter), forget="a", real="ab")) == []


def test_without_a_record_nothing_is_noted(adapter):
    others = {"forget": "xyz", "retain": "ab"}
    for given in ("pretrained=owner/model", "pretrained=m,peft=owner/adapter", "", f"pretrained={adapter.parent}"):
        assert notes(side(given, **others)) == []
    for text in ("forget: 3", "{}"):
        (adapter / "unlearning.yaml").write_text(text)
        assert notes(side(f"peft={adapter}", **others)) == []


def test_a_damaged_record_is_noted(adapter):
    (adapter / "unlearning.yaml").write_text("[1")
    (note,) = notes(side(f"peft={adapter}", forget="xyz", retain="ab"))
    assert note.startswith("whom 'two' forgot is not known: ")
