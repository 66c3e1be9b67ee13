import json
from itertools import combinations

import numpy as np
import pytest

from mllmu_tasks.benchmarks.mini import checkpoint, data_folder, people, write
from mllmu_tasks.benchmarks.mini.layout import write_format
from mllmu_tasks.benchmarks.mllmu.spec import CONFIGS, RATIOS, Modality, Task, forget_config, retain_config
from mllmu_tasks.benchmarks.mllmu.validate import validate
from mllmu_tasks.data.source import Source, open_source
from mllmu_tasks.errors import UserError

MINI = open_source("mini")


def ids(config: str, source: Source = MINI) -> list[str]:
    return [person.id for person in source.people(config)]


def test_the_embedded_data_is_whole_and_clean():
    report = validate(MINI)
    assert (report.structural, report.defects, report.notes) == ((), (), ())
    assert [row.config for row in report.configs] == list(CONFIGS)
    assert [len(ids(c)) for c in ("Full_Set", "Retain_Set", "forget_5", "forget_10", "forget_15")] == [60, 12, 3, 6, 9]


@pytest.mark.parametrize("config", ["Full_Set", "Test_Set", "Retain_Set", "forget_15"])
def test_every_person_has_the_eighteen_questions_of_the_real_data(config):
    wanted = {Task.CLASSIFICATION: 5, Task.CLOZE: 2, Task.GENERATION: 2}
    for person in MINI.people(config):
        assert {(t, m): len(list(person.of(t, m))) for t in Task for m in Modality} == {
            (t, m): n for t, n in wanted.items() for m in Modality
        }


@pytest.mark.parametrize("ratio", RATIOS)
def test_forget_and_retain_are_complements_and_not_nested(ratio):
    forget, retain = ids(forget_config(ratio)), ids(retain_config(ratio))
    assert sorted(forget + retain) == sorted(ids("Full_Set"))
    others = [set(ids(forget_config(r))) for r in RATIOS if r != ratio]
    assert not any(set(forget) <= other for other in others)


def test_image_questions_do_not_name_the_person_and_text_questions_do():
    for person in MINI.people("Full_Set"):
        for question in person.questions:
            assert (person.name in question.text) == (question.modality is Modality.TEXT)


def test_nobody_shares_a_name_or_a_face():
    everyone = [*MINI.people("Full_Set"), *MINI.people("Retain_Set")]
    names = [part for person in everyone for part in person.name.split()]
    assert len(names) == len(set(names)) == 2 * 72
    faces = [np.asarray(MINI.image(person), dtype=int) for person in everyone]
    assert min(np.abs(a - b).mean() for a, b in combinations(faces, 2)) > 1


def test_equal_seeds_make_equal_data_and_others_do_not(tmp_path):
    configs = [config for config in CONFIGS if config != "ft_Data"]
    for name, seed in (("a", 3), ("b", 3), ("c", 4)):
        write(tmp_path / name, people=20, seed=seed, celebrities=2)
    a, b, c = (open_source(str(tmp_path / name)) for name in "abc")
    assert a.hash(configs) == b.hash(configs) != c.hash(configs)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a", "b", "c"]


def test_the_embedded_people_are_those_of_seed_zero(tmp_path):
    write(tmp_path / "again")
    again = open_source(str(tmp_path / "again"))
    for config in ("Full_Set", "Test_Set", "Retain_Set", "forget_15"):
        assert again.people(config) == MINI.people(config)
    assert again.training_rows("ft_Data") == MINI.training_rows("ft_Data")


def test_the_base_model_meets_none_of_the_benchmarks_fictitious_people(tmp_path):
    write_format(tmp_path, people=60, seed=0, format_people=60)
    shown = open_source(str(tmp_path)).people("Full_Set")
    known = {person.name for person in MINI.people("Full_Set")}
    assert len(shown) == 72
    assert not known & {person.name for person in shown}
    celebrities = {person.id: person.biography for person in MINI.people("Retain_Set")}
    assert celebrities == {person.id: person.biography for person in shown if person.id in celebrities}


def test_training_pairs_are_in_the_layout_of_the_hub():
    import pyarrow.parquet as pq

    (file,) = (data_folder() / "baseline_train_split" / "forget_15").glob("*.parquet")
    table = pq.read_table(file)
    assert table.column_names == ["image", "metadata"]
    assert set(json.loads(table["metadata"][0].as_py())[0]) == {"Question", "Answer", "ID"}


def test_an_unknown_model_of_the_mini_benchmark_is_named():
    with pytest.raises(UserError, match="Did you mean 'vanilla'"):
        checkpoint("vanila")


def test_celebrities_are_named_where_everyones_names_leave_no_unshared_one(monkeypatch):
    monkeypatch.setattr(people, "PATIENCE", 200)
    everyone = people.draw_profiles(4000, 0)
    avoid = {profile.name for profile in everyone}
    famous = people.draw_profiles(3, 1, ["C1", "C2", "C3"], avoid)
    names = [profile.name for profile in famous]
    assert len(set(names)) == 3
    assert not set(names) & avoid
