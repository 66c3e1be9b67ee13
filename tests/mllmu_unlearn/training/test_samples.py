"""People and their training samples."""

import json
import shutil

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from mllmu_tasks.benchmarks.mllmu.settings import Settings
from mllmu_tasks.data.source import open_source
from mllmu_tasks.errors import UserError
from mllmu_unlearn.training.benchmark_samples import benchmark_samples
from mllmu_unlearn.training.biographies import text_pairs
from mllmu_unlearn.training.people import choose_people
from mllmu_unlearn.training.samples import Key, Rows, TrainingSet

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
    assert training.left_out == 1
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
    files = [to / config / "train-00000-of-00001.parquet" for config in ("retain_95", "forget_5")]
    pq.write_table(pa.concat_tables([pq.read_table(file) for file in files], promote_options="permissive"), files[0])
    return str(to)


def test_people_on_both_sides_are_refused(data, baseline, tmp_path):
    both = r"the same people in forget_5 and in retain_95 \(003, 007, 011\)"
    with pytest.raises(UserError, match=both):
        choose_people(open_source(copied(data, tmp_path / "data")), 5, ())
    source, folder = open_source(str(data)), copied(baseline, tmp_path / "baseline")
    for ratio in (5, None):
        with pytest.raises(UserError, match=both):
            TrainingSet(source, ("image",), folder, ratio)


def spoilt(data, folder, config, edit):
    """A copy of the data with other rows in a config."""
    shutil.copytree(data, folder)
    file = folder / config / "train-00000-of-00001.parquet"
    rows = pq.read_table(file).to_pylist()
    rows = edit(rows) or rows
    pq.write_table(pa.Table.from_pylist(rows), file)
    return open_source(str(folder))


def with_other_keys(row):
    pairs = json.loads(row["metadata"])
    row["metadata"] = json.dumps([{"question": p["Question"], "answer": p["Answer"], "ID": p["ID"]} for p in pairs])


def without_bytes(row):
    row["image"] = {"bytes": None, "path": "face.png"}


LOSSES = {
    "keys": (with_other_keys, "no field Question and no Answer in metadata, only question, answer, ID: 2"),
    "paths": (without_bytes, "the image is a path without bytes: 2"),
    "empty": (lambda row: row.update(metadata='[{"Question": "Who?", "Answer": "", "ID": "003"}]'), "answer is empty"),
    "none": (lambda row: row.update(metadata="[]", ID="003"), "1 of 3 people cannot be used .no image training pair"),
}


@pytest.mark.parametrize("what", LOSSES)
def test_a_side_that_loses_pairs_or_people_is_refused_by_itself(data, tmp_path, monkeypatch, what):
    """One of 20 people is 5 % of everyone, and a third of the people to forget."""
    edit, reason = LOSSES[what]
    source = spoilt(data, tmp_path / "data", "ft_Data", lambda rows: edit(rows[2]))
    training = TrainingSet(source, ("image", "text"))
    assert training.of([p.id for p in source.people("Full_Set") if p.id not in FORGET])
    with pytest.raises(UserError, match=reason):
        training.of(FORGET)
    monkeypatch.setenv("MLLMU_MAY_LOSE", "0.5")
    left = training.of(FORGET)
    assert {s.person for s in left if s.modality == "image"} == {"007", "011"}
    assert {s.person for s in left if s.modality == "text"} == set(FORGET)


def test_people_without_a_biography_are_refused(data, tmp_path):
    def edit(rows):
        for row in rows[:2]:
            row.update(biography="", answer="")

    source = spoilt(data, tmp_path / "data", "Full_Set", edit)
    with pytest.raises(UserError, match="2 of 20 people cannot be used"):
        TrainingSet(source, ("text",)).of(p.id for p in source.people("Full_Set"))


def test_a_person_in_both_folders_of_training_data_is_refused(data, baseline, tmp_path):
    shutil.copytree(baseline, tmp_path / "baseline")
    both = pq.read_table(baseline / "forget_5" / "train-00000-of-00001.parquet").slice(0, 1)
    file = tmp_path / "baseline" / "retain_95" / "train-00000-of-00001.parquet"
    pq.write_table(pa.concat_tables([pq.read_table(file), both]), file)
    with pytest.raises(UserError, match=r"the same people in forget_5 and in retain_95 \(003\)"):
        TrainingSet(open_source(str(data)), ("image",), str(tmp_path / "baseline"), 5)


def test_benchmark_questions_whose_image_cannot_be_read_are_refused(data, tmp_path):
    source = spoilt(data, tmp_path / "data", "Full_Set", lambda rows: without_bytes(rows[2]))
    people = [person.id for person in source.people("Full_Set")]
    with pytest.raises(UserError, match="3 of 27 benchmark questions"):
        benchmark_samples(source, people[2:11], ("image",), shots=0, seed=0, settings=Settings(shots=(1, 2)))


def test_a_few_lost_benchmark_questions_show_no_lost_face(data, tmp_path):
    source = spoilt(data, tmp_path / "data", "Full_Set", lambda rows: without_bytes(rows[2]))
    people = [person.id for person in source.people("Full_Set")]
    settings = Settings(shots=(1, 2), may_lose=0.06)
    samples = benchmark_samples(source, people, ("image", "text"), shots=2, seed=0, settings=settings)
    shown = {turn.image.person for sample in samples for turn in sample.turns if turn.image}
    assert shown == set(people) - {"003"}
