"""Columns beside the samples: what is written is read; what is stale is said; what is damaged is refused."""

import json

import pytest

from mllmu_tasks.errors import UserError
from mllmu_tasks.results import joined
from mllmu_tasks.results.joined import columns_file, read, write
from mllmu_tasks.scorers.base import get

FIRST, SECOND = "mllmu_forget_generation_image", "mllmu_forget_generation_text"
JUDGE = get("factuality")
ABOUT = {"model": "gpt-4o-mini"}


@pytest.fixture
def run(tmp_path):
    """A results file with two samples files and the grades of a judge beside it."""
    file = tmp_path / "20260101_120000_results.json"
    file.write_text("{}")
    for leaf in (FIRST, SECOND):
        (tmp_path / f"20260101_120000_samples_{leaf}.jsonl").write_text(f'{{"of": "{leaf}"}}\n')
    values = {(leaf, "001", index): {"mllmu_factuality": 7.0 + index} for leaf in (FIRST, SECOND) for index in (0, 1)}
    write(file, JUDGE, values, [FIRST, SECOND], ABOUT)
    return file


def edit(run, change):
    place = columns_file(run, "factuality")
    data = json.loads(place.read_text())
    change(data)
    place.write_text(json.dumps(data))


def test_what_is_written_is_read(run):
    rows = read(run)
    assert [(row.leaf, row.person, row.question_index, row.values["mllmu_factuality"]) for row in rows] == [
        *((FIRST, "001", 0, 7), (FIRST, "001", 1, 8), (SECOND, "001", 0, 7), (SECOND, "001", 1, 8))
    ]
    assert {(row.scorer, row.metrics, row.about["model"]) for row in rows} == {
        ("factuality", JUDGE.metrics, "gpt-4o-mini")
    }
    assert read(run.with_name("20260101_130000_results.json")) == []


@pytest.mark.parametrize("how", ["written anew", "lost"])
def test_values_of_other_samples_are_said_and_not_used(run, how, capsys):
    samples = run.with_name(f"20260101_120000_samples_{FIRST}.jsonl")
    samples.write_text("another answer\n") if how == "written anew" else samples.unlink()
    said = []
    assert {row.leaf for row in read(run, said.append)} == {SECOND}
    assert len(said) == 1
    assert f"was made of other samples of {FIRST}, and is not used there; run factuality again." in said[0]
    read(run)
    assert capsys.readouterr().err == f"mllmu: {said[0]}\n"


DAMAGE = {
    "no schema": (lambda data: data.pop("schema"), "holds no object of schema 1"),
    "another scorer": (lambda data: data.update(scorer="other"), "which its name does not say"),
    "another type": (lambda data: data.update(rows={}), "'rows' is"),
    "a short row": (
        lambda data: data["rows"].append([FIRST]),
        "where .leaf, person, question index, values. is needed",
    ),
    "a person that is a number": (lambda data: data["rows"][0].__setitem__(1, 1), "'person' is 1"),
    "out of bounds": (lambda data: data["rows"][0][3].update(mllmu_factuality=11), "which 'metrics' does not allow"),
    "no number": (lambda data: data["rows"][0][3].update(mllmu_factuality=None), "which 'metrics' does not allow"),
    "undeclared": (lambda data: data["rows"][0][3].update(other=1), "'other' is 1, which 'metrics' does not allow"),
    "twice": (lambda data: data["rows"].append(data["rows"][0]), "a question has two rows"),
    "a leaf without hash": (lambda data: data["of"].pop(FIRST), f"'of' lacks '{FIRST}'"),
    "no direction": (lambda data: data["metrics"]["mllmu_factuality"].pop("better_on_forget"), "better_on_forget"),
}


@pytest.mark.parametrize("damage", DAMAGE)
def test_damage_is_one_sentence(run, damage):
    change, sentence = DAMAGE[damage]
    edit(run, change)
    with pytest.raises(UserError, match=sentence) as refusal:
        read(run)
    assert str(refusal.value).endswith("remove it, and score again.")


@pytest.mark.parametrize("content", ["", "[]", "[" * 100_000, '{"schema": 1, "rows": [NaN'])
def test_what_is_no_json_object_is_one_sentence(run, content):
    columns_file(run, "factuality").write_text(content)
    with pytest.raises(UserError, match="is no file of a scorer's columns"):
        read(run)


def test_a_file_has_a_bounded_size(run, monkeypatch):
    monkeypatch.setattr(joined, "MOST_BYTES", 100)
    with pytest.raises(UserError, match="more than 100 bytes"):
        read(run)


def test_no_file_takes_the_place_of_a_metric_of_the_samples_or_of_another_file(run):
    place = columns_file(run, "factuality")
    text = place.read_text()
    place.write_text(text.replace("mllmu_factuality", "mllmu_cloze"))
    with pytest.raises(UserError, match="hold one another"):
        read(run)
    place.write_text(text)
    columns_file(run, "other").write_text(text.replace('"scorer": "factuality"', '"scorer": "other"'))
    with pytest.raises(UserError, match="'mllmu_factuality' and 'mllmu_factuality' hold one another"):
        read(run)
