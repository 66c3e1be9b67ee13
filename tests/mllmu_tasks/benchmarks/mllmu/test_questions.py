import random

import pytest
from data_sets import change

from mllmu_tasks.benchmarks.mllmu.questions import build_leaf, leaf_questions
from mllmu_tasks.benchmarks.mllmu.settings import Settings
from mllmu_tasks.benchmarks.mllmu.spec import Leaf, leaves
from mllmu_tasks.data.source import Source, open_source
from mllmu_tasks.errors import UserError

MINI = open_source("mini")


def build(name: str, source: Source = MINI, **settings):
    return build_leaf(source, Leaf.parse(name), Settings(**settings))


@pytest.mark.parametrize("seed", [0, 7])
def test_draws_are_those_of_the_official_code_after_random_seed(seed):
    """One sample over the ids of forget_N, then one choice of an image for every row of Test_Set."""
    questions = build("mllmu_test_15_cloze_image", seed=seed)
    random.seed(seed)
    drawn = random.sample([p.id for p in MINI.people("forget_15")], 2)
    forget = {p.id for p in MINI.people("forget_15")}
    images = {p.id: random.choice(range(2)) for p in MINI.people("Test_Set") if p.id in forget}
    assert set(questions.shots) == set(drawn)
    assert {row["person"]: row["image_index"] for row in questions.rows} == {
        person: index for person, index in images.items() if person not in drawn
    }


def test_image_and_text_leaves_share_their_draw_and_tasks_do_not_move_it():
    assert build("mllmu_forget_15_cloze_image").shots == build("mllmu_forget_15_cloze_text").shots
    assert (
        build("mllmu_retain_15_classification_text", seed=1).shots
        != build("mllmu_retain_15_classification_text", seed=2).shots
    )


def test_shots_stand_in_full_set_order_and_leave_the_scored_set():
    questions = build("mllmu_forget_15_cloze_text")
    order = [p.id for p in MINI.people("Full_Set")]
    assert list(questions.shots) == sorted(questions.shots, key=order.index)
    assert not {row["person"] for row in questions.rows} & set(questions.shots)
    assert [item.reason for item in questions.left_out] == ["shown as example"] * 4
    assert len(questions.rows) == (9 - 2) * 2


def test_golds_that_are_no_bare_letter_are_counted(data, fresh):
    """The official code compares them raw, so each may be one answer's difference from its score."""

    def edit(rows):
        for row in rows[:3]:
            question = row["Classification_Task"]["Pure_Text_Questions"][0]
            question["Correct_Answer"] += "."

    change(data, "Retain_Set", edit)
    source = fresh(data)
    for modality, count in (("text", 3), ("image", 0)):
        questions = build(f"mllmu_real_classification_{modality}", source)
        assert questions.facts()["gold_letters_read"] == count
        assert len(questions.rows) == 60


def test_only_questions_really_shown_leave_the_scored_set():
    questions = build("mllmu_forget_15_classification_text", shot_questions=2)
    assert len(questions.left_out) == 2
    assert len(questions.rows) == 9 * 5 - 2


@pytest.mark.parametrize("leaf", ["mllmu_real_cloze_image", "mllmu_forget_15_generation_text"])
def test_real_people_and_generation_are_zero_shot(leaf):
    questions = build(leaf)
    assert questions.shots == ()
    assert questions.left_out == ()


def test_zero_shots_score_everyone():
    assert len(build("mllmu_forget_cloze_image", shots=(0, 0)).rows) == 6


def test_more_examples_than_people_names_the_way_out():
    with pytest.raises(UserError, match="MLLMU_SHOTS=0"):
        build("mllmu_forget_cloze_image", shots=(1, 3))


def test_what_cannot_be_scored_is_left_out_counted_and_named(data, fresh):
    def spoil(rows):
        rows[0]["Mask_Task"][0]["Ground_Truth"] = " "
        rows[1]["image"] = {"bytes": b"x", "path": None}

    change(data, "Retain_Set", spoil)
    source = fresh(data)
    questions = build("mllmu_real_cloze_image", source, may_lose=0.2)
    facts = questions.facts()
    assert (facts["questions"], facts["lost"], facts["unscorable"]) == (12 * 2 - 1 - 2, 3, 0)
    assert facts["left_out"] == {"unreadable image": 2, "the gold answer is empty": 1}
    assert facts["left_out_named"][0] == "C001[0]: the gold answer is empty"
    assert [row["question_index"] for row in questions.rows if row["person"] == "C001"] == [1]


def test_an_example_whose_image_is_unreadable_is_left_out_and_counted(data, fresh):
    """Its image in forget_15 can be read, so this person is asked about like the others."""
    shown = build("mllmu_forget_15_cloze_image").shots

    def spoil(rows):
        for row in rows:
            if row["ID"] == shown[0]:
                row["image"] = {"bytes": row["image"]["bytes"][:-40], "path": None}

    change(data, "Full_Set", spoil)
    source = fresh(data)
    with pytest.raises(
        UserError, match=r"2 of 4 examples cannot be used \(not shown as example, unreadable image: 2\)"
    ):
        build("mllmu_forget_15_cloze_image", source)
    questions = build("mllmu_forget_15_cloze_image", source, may_lose=1)
    assert questions.shots == shown[1:]
    assert shown[0] in {row["person"] for row in questions.rows}
    facts = questions.facts()
    assert facts["left_out"] == {"not shown as example, unreadable image": 2, "shown as example": 2}
    assert facts["left_out_named"][0].startswith(f"{shown[0]}[0]: not shown as example, unreadable image")
    assert build("mllmu_forget_15_cloze_text", source).shots == shown


def test_a_small_set_of_celebrities_needs_no_examples():
    assert len(build("mllmu_real_cloze_text", shots=(12, 50)).rows) == 24


def test_forget_people_without_a_test_row_are_named_and_the_rest_is_scored(data, fresh):
    gone = MINI.people("forget_15")[0].id
    change(data, "Test_Set", lambda rows: [row for row in rows if row["ID"] != gone])
    questions = build("mllmu_test_15_generation_text", fresh(data), may_lose=0.2)
    assert [(item.person, item.reason) for item in questions.left_out] == [(gone, "not in Test_Set")]
    assert (len(questions.rows), questions.lost) == (8 * 2, 2)


def test_a_forget_person_unknown_to_full_set_stops(data, fresh):
    change(data, "Full_Set", lambda rows: [row for row in rows if row["ID"] != MINI.people("forget_5")[0].id])
    with pytest.raises(UserError, match="who are not in Full_Set"):
        build("mllmu_forget_classification_text", fresh(data))


def test_rows_hold_no_image_and_every_config_is_parsed_once(fresh, data, monkeypatch):
    source, parsed = fresh(data), []
    read = Source._read_people
    monkeypatch.setattr(Source, "_read_people", lambda self, config: (parsed.append(config), read(self, config))[1])
    for leaf in leaves(15):
        rows = leaf_questions(leaf, Settings(data=str(data))).rows
        assert not any(isinstance(value, bytes) for value in rows[0].values())
    assert source is open_source(str(data))
    assert len(parsed) == len(set(parsed)) == 5
