import shlex

import pyarrow.parquet as pq
import pytest

from mllmu_tasks.data.source import open_source
from mllmu_tasks.errors import UserError
from mllmu_unlearn.experiments.demo import (
    METHODS,
    MODELS,
    DemoFolder,
    complete,
    evaluation_command,
    plan,
    unlearning_command,
)


@pytest.fixture
def layout(tmp_path):
    return DemoFolder(tmp_path)


def by_name(stages):
    assert len({stage.name for stage in stages}) == len(stages)
    return {stage.name: stage for stage in stages}


def test_every_row_is_evaluated_after_what_it_needs(layout):
    stages = by_name(plan(layout, workers=2, cores=2, models="abc"))
    assert set(stages) == {f"evaluate-{row}" for row in (*MODELS, *METHODS)} | {f"unlearn-{m}" for m in METHODS}
    for method in METHODS:
        assert stages[f"evaluate-{method}"].needs == (f"unlearn-{method}",)
        assert f"peft={layout.adapter(method)}" in " ".join(stages[f"evaluate-{method}"].command)
    assert {stage.environment["OMP_NUM_THREADS"] for stage in stages.values()} == {"1"}


def test_from_scratch_trains_the_models_first(layout):
    stages = by_name(plan(layout, workers=2, cores=4))
    assert stages["train-base"].needs == ()
    for name in MODELS:
        assert stages[f"train-{name}_facts"].needs == ("train-base",)
        assert stages[f"train-{name}"].needs == (f"train-{name}_facts",)
    assert stages["unlearn-npo"].needs == stages["evaluate-vanilla"].needs == ("train-vanilla",)
    assert stages["evaluate-retain_only"].needs == ("train-retain_only",)
    assert [stages[f"train-{n}"].environment["OMP_NUM_THREADS"] for n in ("base", "vanilla")] == ["4", "2"]


def test_the_printed_commands_are_those_that_run(layout):
    stages = by_name(plan(layout, workers=1, cores=1, models="abc"))
    for row in (*MODELS, *METHODS):
        setting, program, *arguments = shlex.split(evaluation_command(layout, row))
        assert (setting, program) == ("MLLMU_DATA=mini", "lmms-eval")
        assert tuple(arguments) == stages[f"evaluate-{row}"].command[3:]
    for method in METHODS:
        assert tuple(shlex.split(unlearning_command(layout, method))[2:]) == stages[f"unlearn-{method}"].command[3:]


def test_a_run_without_results_is_not_complete(layout):
    layout.results("npo").mkdir(parents=True)
    with pytest.raises(UserError):
        complete(layout.results("npo"))


def test_where_scratch_starts(layout):
    scratch = layout.scratch
    scratch.prepare()
    weights = (scratch.random / "model.safetensors").read_bytes()
    scratch.prepare()
    assert (scratch.random / "model.safetensors").read_bytes() == weights
    mini = open_source("mini")
    everyone = {person.id for person in open_source(str(scratch.everyone)).people("Full_Set")}
    assert everyone == {p.id for config in ("Full_Set", "Retain_Set") for p in mini.people(config)}
    (formats,) = (scratch.formats / "Full_Set").glob("*.parquet")
    assert not set(pq.read_table(formats)["ID"].to_pylist()) & {p.id for p in mini.people("Full_Set")}
