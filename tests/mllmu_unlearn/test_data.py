"""People and their training samples."""

import shutil

import pytest

from mllmu_tasks.errors import UserError
from mllmu_tasks.settings import Settings
from mllmu_tasks.source import open_source
from mllmu_unlearn.benchmark_data import benchmark_samples
from mllmu_unlearn.data import Key, Rows, TrainingSet, text_pairs
from mllmu_unlearn.people import choose_people

FORGET = ("003", "007", "011")


def test_people_by_ratio_and_by_ids(data):
    source = open_source(str(data))
    people = choose_people(source, 5, ())
    assert people.forget == FORGET
    assert (len(people.retain), people.ratio) == (17, 5)
    assert not set(people.forget) & set(people.retain)
    named = choose_people(source, None, ["011", "001"])
    assert named.forget == ("001", "011")
    assert len(named.retain) == 18


def test_unknown_or_all_people(data):
    source = open_source(str(data))
    with pytest.raises(UserError, match="9, 999"):
        choose_people(source, None, ["999", "001", "9"])
    with pytest.raises(UserError, match="none retained"):
        choose_people(source, None, [person.id for person in source.people("Full_Set")])


def test_image_pairs_skip_and_count_empty_answers(data):
    training = TrainingSet(open_source(str(data)), ("image",))
    samples = training.of(["003"])
    assert [s.question for s in samples] == ["Who is this?", "Where does this person live?"]
    assert [s.origin for s in samples] == ["ft_Data"] * 2
    assert training.left_out == 20
    assert [image.size for image in samples[0].images()] == [(56, 56)]


def test_baseline_layout_gives_the_same_image_pairs(data, baseline):
    source = open_source(str(data))
    ours = TrainingSet(source, ("image",)).of(FORGET)
    for ratio in (5, None):
        theirs = TrainingSet(source, ("image",), str(baseline), ratio).of(FORGET)
        assert [s.turns[0].answer for s in theirs] == [s.turns[0].answer for s in ours]
        assert {s.origin for s in theirs} == {"forget_5"}
    with pytest.raises(UserError, match="forget_10 and retain_90"):
        TrainingSet(source, ("image",), str(baseline), 10)
    with pytest.raises(UserError, match="no folder here"):
        TrainingSet(source, ("image",), str(data / "absent"))
    with pytest.raises(UserError, match="no folders forget_5"):
        TrainingSet(source, ("image",), str(data / "Full_Set"))


def test_the_benchmarks_own_forget_config_is_no_training_data(data):
    source = open_source(str(data))
    folder = data.parent / "eval_only"
    shutil.copytree(data, folder, dirs_exist_ok=True)
    shutil.rmtree(folder / "ft_Data")
    with pytest.raises(UserError, match="metadata"):
        TrainingSet(source, ("image",), str(folder), 5)
    with pytest.raises(UserError, match="ft_Data"):
        TrainingSet(open_source(str(folder)), ("image",))
    assert TrainingSet(open_source(str(folder)), ("text",)).of(["001"])


def test_text_pairs(data):
    person = open_source(str(data)).by_id("Full_Set")["003"]
    assert text_pairs(person) == [
        ("What is the place of birth of Ada Cson?", "Accra"),
        ("What is the residence of Ada Cson?", "Accra"),
        ("What is the parents of Ada Cson?", "Mother: Eve"),
        ("Who is Ada Cson?", "Ada Cson lives in Accra."),
    ]


def test_text_samples_never_are_evaluated_questions(data):
    source = open_source(str(data))
    asked = {q.text for person in source.people("Full_Set") for q in person.questions}
    training = TrainingSet(source, ("image", "text")).of(p.id for p in source.people("Full_Set"))
    assert asked
    assert not asked & {sample.question for sample in training}


@pytest.mark.parametrize("shots", [0, 1, 2])
def test_benchmark_questions_on_request(data, shots):
    source, settings = open_source(str(data)), Settings(shots=(1, 2))
    people = ("001", "002", "004")
    samples = benchmark_samples(source, people, ("image", "text"), shots=shots, seed=0, settings=settings)
    zero = [s for s in samples if len(s.turns) == 1]
    assert len(zero) == 3 * 6  # a classification, a generation and a cloze question of each modality
    assert {s.person for s in samples} == set(people)
    assert all(s.answer for s in samples)
    assert next(s for s in zero if s.answer == "B").question.endswith("ONE letter representing the answer directly.")
    few = [s for s in samples if len(s.turns) > 1]
    assert len(few) == 3 * 4 * shots
    assert {len(s.turns) for s in few} == ({2, 3} if shots else set())
    for sample in few:
        assert sample.learnt == len(sample.turns)
        shown = {turn.image.person for turn in sample.turns[:-1] if turn.image}
        assert sample.person not in shown
        assert shown <= set(people)
    again = benchmark_samples(source, people, ("image", "text"), shots=shots, seed=0, settings=settings)
    assert again == samples


def test_too_few_people_to_show(data):
    with pytest.raises(UserError, match="only 1 others"):
        benchmark_samples(open_source(str(data)), ("001", "002"), ("text",), shots=1, seed=0, settings=Settings())


def test_rows_are_prepared_once_while_they_fit(data):
    import torch

    samples = TrainingSet(open_source(str(data)), ("text",)).of(["001"])
    calls = []

    def encode(sample, images):
        calls.append(sample.question)
        return {"input_ids": torch.zeros(1, 8, dtype=torch.long)}  # 64 bytes

    rows = Rows({"forget": samples}, encode, keep_bytes=64)
    for _ in range(2):
        assert rows[Key((("forget", 0),))]["forget"][0] == 0
    assert len(calls) == 1
    for _ in range(2):
        rows[Key((("forget", 1),))]
    assert len(calls) == 3


def copied(folder, to):
    """A copy whose retained people hold the forgotten ones, too."""
    shutil.copytree(folder, to)
    shutil.copyfile(to / "forget_5" / "train-00000-of-00001.parquet", to / "retain_95" / "train-00001-of-00002.parquet")
    return str(to)


def test_people_on_both_sides_are_refused(data, baseline, tmp_path):
    both = r"the same people in forget_5 and in retain_95 \(003, 007, 011\)"
    with pytest.raises(UserError, match=both):
        choose_people(open_source(copied(data, tmp_path / "data")), 5, ())
    source, folder = open_source(str(data)), copied(baseline, tmp_path / "baseline")
    for ratio in (5, None):
        with pytest.raises(UserError, match=both):
            TrainingSet(source, ("image",), folder, ratio)
