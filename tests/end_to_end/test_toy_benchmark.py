"""docs/adding-a-benchmark.md, done to the letter: a benchmark of others beside ours, in one command of lmms-eval."""

import json
import os
import re
import shlex
from importlib.metadata import EntryPoint

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from command_lines import lmms_eval, mllmu
from places import DOCS

from mllmu_tasks.benchmarks import registry
from mllmu_tasks.errors import UserError

DOC = DOCS / "adding-a-benchmark.md"
PEOPLE = {"erased": ["Oslo", "Lima"], "kept": ["Quito", "Accra", ""]}


def block(language: str) -> str:
    return re.search(rf"```{language}\n(.*?)```", DOC.read_text(), re.DOTALL)[1]


def make_towns(home):
    (home / "towns").mkdir()
    (home / "towns/__init__.py").write_text(block("python"))
    for config, towns in PEOPLE.items():
        (home / "data" / config).mkdir(parents=True)
        rows = [{"key": f"{config}{n}", "full_name": f"Ada {n}", "town": town} for n, town in enumerate(towns)]
        pq.write_table(pa.Table.from_pylist(rows), home / "data" / config / "0.parquet")
    return home


@pytest.fixture(scope="module")
def outcome(tmp_path_factory):
    home = make_towns(tmp_path_factory.mktemp("home"))
    write, _, evaluate = block("bash").splitlines()
    written = mllmu(home, *shlex.split(write)[1:])
    assert written.code == 0, written.output
    arguments = shlex.split(evaluate.split(" --log_samples")[0])[1:]
    settings = {"MLLMU_BENCHMARKS": str(home / "towns"), "TOWNS_DATA": str(home / "data"), "MLLMU_DATA": "mini"}
    return lmms_eval(home, *arguments, **settings, MLLMU_MAY_LOSE="0.4")


def test_two_benchmarks_run_in_one_command_with_data_of_their_own(outcome):
    results = outcome.results["results"]
    facts = {leaf: json.loads(results[leaf]["mllmu_facts,none"]) for leaf in ("towns_kept_town_text",)}
    assert facts["towns_kept_town_text"]["questions"] == 2
    assert facts["towns_kept_town_text"]["left_out"] == {"the town is empty": 1}
    assert facts["towns_kept_town_text"]["data"].endswith("data")
    assert json.loads(results["mllmu_real_cloze_text"]["mllmu_facts,none"])["data"] == "mini"
    assert results["towns_erased_town_text"]["mllmu_cloze,none"] == 1
    assert results["mllmu_real_cloze_text"]["mllmu_cloze,none"] == 1


def test_its_samples_say_where_they_belong(outcome):
    for split, role in (("erased", "forget"), ("kept", "retain")):
        samples = outcome.samples(f"towns_{split}_town_text")
        places = {(s["benchmark"], s["split"], s["role"], s["ratio"], s["task"], s["modality"]) for s in samples}
        assert places == {("towns", split, role, None, "town", "text")}
        assert [s["person"] for s in samples] == [f"{split}0", f"{split}1"]
        assert {s["prediction"] for s in samples} == {*PEOPLE[split]} - {""}


def test_an_entry_point_brings_it_too(tmp_path, monkeypatch):
    home = make_towns(tmp_path)
    monkeypatch.syspath_prepend(home)
    point = EntryPoint("towns", "towns:BENCHMARK", registry.GROUP)
    monkeypatch.setattr(registry, "_in_packages", lambda: (("towns", point),))
    assert registry.leaf_of("towns_kept_town_text").role == "retain"
    with pytest.raises(UserError, match="mllmu tasks --write"):
        registry.task_folders()


@pytest.mark.parametrize(
    ("files", "message"),
    [
        ({}, "holds no __init__.py"),
        ({"__init__.py": "1 / 0"}, "cannot be loaded \\(ZeroDivisionError"),
        ({"__init__.py": "BENCHMARK = 1"}, "no Benchmark called 'other'"),
    ],
)
def test_what_is_no_benchmark_is_named(tmp_path, monkeypatch, files, message):
    (tmp_path / "other").mkdir()
    for name, text in files.items():
        (tmp_path / "other" / name).write_text(text)
    monkeypatch.setenv(registry.VARIABLE, os.fspath(tmp_path / "other"))
    with pytest.raises(UserError, match=message):
        registry.benchmark("other")


def test_a_name_that_is_not_there_gets_the_nearest():
    with pytest.raises(UserError, match="Did you mean 'mllmu'"):
        registry.benchmark("mllmo")


def test_the_page_keeps_its_promise_of_size():
    assert len(block("python").splitlines()) <= 150
