"""What data lose on their way to a question: refused beyond a share, counted and named below it."""

import json

import pyarrow.parquet as pq
import pytest
from data_sets import change, retype

from mllmu_tasks.benchmarks.mini import write
from mllmu_tasks.benchmarks.mllmu.questions import build_leaf
from mllmu_tasks.benchmarks.mllmu.settings import Settings
from mllmu_tasks.benchmarks.mllmu.spec import Leaf
from mllmu_tasks.benchmarks.mllmu.validate import validate
from mllmu_tasks.data.missing import MAY_LOSE, refuse_losses
from mllmu_tasks.errors import UserError


def build(source, name, **settings):
    return build_leaf(source, Leaf.parse(name), Settings(**settings))


def facts(source, name, **settings):
    return build(source, name, **settings).facts()


def ids(folder, config):
    (file,) = (folder / config).glob("*.parquet")
    return pq.read_table(file, columns=["ID"]).column(0).to_pylist()


def test_one_damaged_person_of_the_smallest_forget_set_passes_and_two_do_not():
    """25 people, of whom one or two are shown as examples; cls, cloze and gen have 5, 2 and 2 questions each."""
    for each, shown in ((5, 1), (2, 2), (2, 0)):
        scored = each * (25 - shown)
        refuse_losses("leaf", "questions", each, scored - each, {}, MAY_LOSE)
        with pytest.raises(UserError):
            refuse_losses("leaf", "questions", 2 * each, scored - 2 * each, {}, MAY_LOSE)


def paths_only(rows):
    for row in rows:
        row["image"] = {"bytes": None, "path": f"images/{row['ID']}.png"}


def test_images_given_by_path_alone_stop_the_leaf_and_validate(data, fresh):
    change(data, "forget_15", paths_only)
    source = fresh(data)
    with pytest.raises(
        UserError, match=r"14 of 14 questions .* \(the image is a path without bytes: 14\), more than 5%"
    ):
        build(source, "mllmu_forget_15_cloze_image")
    assert len(build(source, "mllmu_forget_15_cloze_text").rows) == 14
    report = validate(source)
    assert len(report.structural) == 3
    assert sum("a path without bytes" in defect.problem for defect in report.defects) == 9
    found = facts(source, "mllmu_forget_15_cloze_image", may_lose=1)
    assert (found["questions"], found["lost"], found["unscorable"]) == (0, 14, 0)
    assert found["left_out"] == {"the image is a path without bytes": 14, "shown as example": 4}


def test_examples_without_images_stop_the_leaf(data, fresh):
    """Their questions would be asked without examples, as others than in the text leaf."""
    change(data, "Full_Set", paths_only)
    with pytest.raises(UserError, match="4 of 4 examples cannot be used"):
        build(fresh(data), "mllmu_forget_15_cloze_image")


@pytest.mark.parametrize("lost", [3, 1])
def test_golds_that_rouge_cannot_read_are_left_out_and_counted(data, fresh, lost):
    def edit(rows):
        for row, gold in zip(rows[:lost], ["Ζει στην Αθήνα από το 1987.", "東京に住んでいます", "…"], strict=False):
            row["Generation_Task"][3]["Ground_Truth"] = gold
        rows[5]["Generation_Task"][3]["Ground_Truth"] = "José Núñez lives in Łódź."

    change(data, "Retain_Set", edit)
    source, leaf = fresh(data), "mllmu_real_generation_text"
    if lost > 1:
        with pytest.raises(UserError, match=r"3 of 24 questions .*ROUGE cannot read the gold answer: 3"):
            build(source, leaf)
    found = facts(source, leaf, may_lose=0.2)
    assert (found["questions"], found["lost"], found["unscorable"]) == (24 - lost, lost, lost)
    assert found["left_out"] == {"ROUGE cannot read the gold answer": lost}
    assert sum("ROUGE" in str(defect) for defect in source.defects("Retain_Set")) == lost


def test_a_cloze_gold_without_letters_is_left_out_and_one_with_spaces_named(data, fresh):
    def edit(rows):
        rows[0]["Mask_Task"][2]["Ground_Truth"] = "—"
        rows[1]["Mask_Task"][2]["Ground_Truth"] += " "

    change(data, "Retain_Set", edit)
    source = fresh(data)
    found = facts(source, "mllmu_real_cloze_text")
    assert (found["questions"], found["lost"], found["unscorable"]) == (23, 1, 1)
    assert [defect.person for defect in source.defects("Retain_Set")] == ["C001", "C002"]
    assert "outer white space" in str(source.defects("Retain_Set")[1])


def test_entries_of_an_unknown_type_are_lost_to_both_modalities(data, fresh):
    def edit(rows):
        for row in rows:
            row["Mask_Task"][0]["Type"] = "Image-Textual"

    change(data, "Retain_Set", edit)
    for modality, left in (("image", 12), ("text", 24)):
        with pytest.raises(UserError, match=f"12 of {left + 12} questions .*unknown Type: 12"):
            build(fresh(data), f"mllmu_real_cloze_{modality}")


@pytest.mark.parametrize(("people", "stops"), [(1, False), (12, True)])
def test_a_person_without_questions_has_lost_as_many_as_the_others_have(data, fresh, people, stops):
    def edit(rows):
        for row in rows[:people]:
            row["Mask_Task"] = None

    change(data, "Retain_Set", edit)
    source = fresh(data)
    found = facts(source, "mllmu_real_cloze_text", may_lose=0.1 if not stops else 1)
    assert found["lost"] == (2 if people == 1 else 12)
    assert found["left_out"] == {"no cloze text question": people}
    with pytest.raises(UserError, match="no cloze text question"):
        build(source, "mllmu_real_cloze_text")


def test_people_of_both_parts_stop_the_retain_leaves(data, fresh):
    both = ids(data, "forget_15")[0]
    change(data, "retain_85", lambda rows: rows[0].update(ID=both))
    for task in ("cloze", "generation"):
        with pytest.raises(UserError, match=rf"holds the same people in forget_15 and in retain_85 \({both}\)"):
            build(fresh(data), f"mllmu_retain_15_{task}_text")
    assert build(fresh(data), "mllmu_retain_10_cloze_text").rows


def test_people_of_neither_part_are_named_and_many_stop_the_retain_leaves(data, fresh):
    gone = ids(data, "retain_95")[:3]
    change(data, "retain_95", lambda rows: rows[1:])
    report = validate(fresh(data))
    assert report.structural == ()
    assert [str(d) for d in report.defects] == [
        f"Full_Set, person {gone[0]}, row: is neither in forget_5 nor in retain_95"
    ]
    change(data, "retain_95", lambda rows: rows[5:])
    with pytest.raises(UserError, match="6 of 57 people cannot be used"):
        build(fresh(data), "mllmu_retain_generation_text")
    assert any("6 of 57 people" in sentence for sentence in validate(fresh(data)).structural)


def test_numbers_as_ids_are_found_by_validate(data, fresh):
    """'001' in metadata is nobody where Full_Set has the number 1."""

    def numbered(table):
        column = table.column("ID").cast("int64")
        return table.set_column(table.schema.get_field_index("ID"), "ID", column)

    for config in ("Full_Set", "Test_Set", *(f"{s}_{n}" for s, n in SPLITS)):
        retype(data, config, numbered)
    (error,) = validate(fresh(data)).structural
    assert error.startswith("ft_Data of data ")
    assert "people who are not in Full_Set: 001, 002" in error


SPLITS = (("forget", 5), ("forget", 10), ("forget", 15), ("retain", 95), ("retain", 90), ("retain", 85))


@pytest.mark.parametrize("share", ["-0.1", "1.5", "nan", "five"])
def test_a_share_is_a_share(share):
    with pytest.raises(UserError, match="MLLMU_MAY_LOSE"):
        Settings.from_environment({"MLLMU_MAY_LOSE": share})
    assert Settings.from_environment({"MLLMU_MAY_LOSE": "0.2"}).may_lose == 0.2


def test_metadata_with_other_keys_is_a_structural_error_that_names_them(data, fresh):
    def edit(rows):
        for row in rows:
            entries = [{"from": "human", "value": e["Question"], "ID": e["ID"]} for e in json.loads(row["metadata"])]
            row["metadata"] = json.dumps(entries)

    change(data, "ft_Data", edit)
    report = validate(fresh(data))
    assert len(report.structural) == 7  # of everyone, and of each forget and retain set
    assert all("no field Question and no Answer in metadata, only from, value, ID" in s for s in report.structural)
    assert len(report.defects) == 60


@pytest.mark.parametrize(
    ("metadata", "named"),
    [
        ('{"conversations": []}', "metadata is a dict with conversations, not a JSON list"),
        ('["What?"]', "entry 0: metadata holds a str"),
        ("[" * 5000, "RecursionError"),
        ("what", "JSONDecodeError"),
    ],
)
def test_metadata_of_another_structure_is_one_sentence(data, fresh, metadata, named):
    change(data, "ft_Data", lambda rows: rows[0].update(metadata=metadata))
    with pytest.raises(UserError, match=named):
        fresh(data).training_rows("ft_Data")


def test_people_without_training_pairs_are_named(data, fresh):
    gone = ids(data, "forget_5")[0]
    change(data, "ft_Data", lambda rows: [row for row in rows if f'"{gone}"' not in row["metadata"]])
    report = validate(fresh(data))
    assert any("the training pairs of forget_5: 1 of 3 people cannot be used" in s for s in report.structural)
    assert f"ft_Data, person {gone}, row: there is none" in map(str, report.defects)


def test_more_people_than_there_are_faces(tmp_path):
    with pytest.raises(UserError, match="100,000,012 people are too many"):
        write(tmp_path / "data", people=100_000_000)
    assert not list(tmp_path.iterdir())
