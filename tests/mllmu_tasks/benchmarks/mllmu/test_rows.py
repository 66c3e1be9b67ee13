import pytest

from mllmu_tasks.benchmarks.mllmu.rows import gold_letter, parse_person
from mllmu_tasks.benchmarks.mllmu.spec import Modality, Task
from mllmu_tasks.errors import UserError

OPTIONS = (("A", "nurse"), ("B", "pilot"), ("C", None), ("D", "a judge"))


@pytest.mark.parametrize("stored", ["B", "b", "B.", "(B)", "B: pilot", "pilot", " Pilot "])
def test_every_clear_form_of_a_gold_answer_is_its_letter(stored):
    assert gold_letter(stored, OPTIONS) == ("B", None)


@pytest.mark.parametrize(
    ("stored", "problem"),
    [
        ("", "empty"),
        ("C", "has no text"),
        ("E", "is not there"),
        ("baker", "none of the options"),
        ("A. pilot", "none of the options"),
    ],
)
def test_an_unclear_gold_answer_is_never_guessed(stored, problem):
    letter, defect = gold_letter(stored, OPTIONS)
    assert letter == ""
    assert problem in defect


def test_a_text_that_two_options_share_is_unclear():
    letter, defect = gold_letter("nurse", (("A", "nurse"), ("B", "Nurse")))
    assert letter == ""
    assert "fits several options (A, B: 'nurse')" in defect


def test_a_letter_that_is_also_an_option_text_is_the_letter():
    assert gold_letter("A", (("A", "B"), ("B", "A"))) == ("A", None)


def entry(kind, gold="x", text="q __"):
    return {"Question": text, "Ground_Truth": gold, "Type": kind}


def row(**more):
    return {
        "ID": "009",
        "biography": '{"Name": "Ada"}',
        "Classification_Task": {"Image_Textual_Questions": None, "Pure_Text_Questions": []},
        "Generation_Task": [],
        "Mask_Task": [],
    } | more


def test_empty_and_null_lists_and_six_questions_are_read():
    choice = {"Question": "q", "Correct_Answer": "A", "Options": {"A": "x", "B": None}}
    tasks = {"Image_Textual_Questions": None, "Pure_Text_Questions": [choice] * 6}
    person, oddities = parse_person("Full_Set", 0, row(Classification_Task=tasks))
    assert [q.index for q in person.of(Task.CLASSIFICATION, Modality.TEXT)] == list(range(6))
    assert ("Classification_Task.Image_Textual_Questions", "is null") in oddities


def test_indices_count_by_modality_and_slots_by_the_stored_list():
    stored = [entry("Pure_Text"), entry("Image_Textual"), entry("Odd"), entry("Pure_Text"), entry("Image_Textual", "")]
    person, oddities = parse_person("Full_Set", 0, row(Mask_Task=stored))
    found = [(q.modality, q.index, q.slot, q.defect) for q in person.questions]
    assert found == [
        ("text", 0, 0, None),
        ("image", 0, 1, None),
        ("text", 1, 3, None),
        ("image", 1, 4, "the gold answer is empty"),
    ]
    assert any("unknown Type 'Odd'" in problem for _, problem in oddities)


@pytest.mark.parametrize(("stored", "known"), [(9, "9"), (" 009 ", "009")])
def test_numeric_ids_become_text_and_lost_zeros_stay_lost(stored, known):
    assert parse_person("Full_Set", 0, row(ID=stored))[0].id == known


@pytest.mark.parametrize(("text", "name"), [('{"Name": "Ada"}', "Ada"), ("Ada was born", ""), (None, "")])
def test_a_biography_may_be_json_or_not(text, name):
    person, _ = parse_person("Full_Set", 0, row(biography=text))
    assert person.name == name
    assert person.biography_text == (text or "")


@pytest.mark.parametrize(
    ("changed", "named"),
    [
        ({"ID": None}, "row 0"),
        ({"Mask_Task": "text"}, "person 009: Mask_Task"),
        ({"Mask_Task": ["text"]}, r"Mask_Task\[0\]"),
        ({"Classification_Task": []}, "Classification_Task"),
        ({"Classification_Task": {"Pure_Text_Questions": []}}, "has no field Image_Textual_Questions; it holds Pure"),
        ({"Mask_Task": [{"Question": "q", "Answer": "x", "Type": "Pure_Text"}]}, r"Mask_Task\[0\] has no field Ground"),
        ({"Generation_Task": [{"Question": "q", "Ground_Truth": "x"}]}, r"Generation_Task\[0\] has no field Type"),
    ],
)
def test_a_wrong_structure_names_config_and_person(changed, named):
    with pytest.raises(UserError, match=named) as error:
        parse_person("forget_5", 0, row(**changed))
    assert "forget_5" in str(error.value)
