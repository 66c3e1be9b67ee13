from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from mllmu_tasks.benchmarks.mllmu.spec import Task
from mllmu_tasks.errors import UserError
from mllmu_tasks.results.old_format import leaf_of
from mllmu_tasks.results.runs import Run, Sample
from mllmu_tasks.results.stats.means import Estimate, clustered_mean
from mllmu_unlearn.experiments.sweep import output
from mllmu_unlearn.experiments.sweep.rows import Row, fall, mean_of_tasks, row, verdict


def run_of(**scores: tuple[float, ...]) -> Run:
    """A run whose cloze scores on each split are given, one a person."""
    samples = []
    for split, values in scores.items():
        leaf = leaf_of(f"mllmu_{split}_cloze_text")
        for place, score in enumerate(values):
            samples.append(Sample(leaf, f"{place:03d}", 0, score, "", "", True, True, {}))
    leaves = tuple(dict.fromkeys(sample.leaf for sample in samples))
    facts = {leaf.name: {} for leaf in leaves}
    return Run(Path("x_results.json"), "mllmu_hf", "", "x", None, facts, leaves, tuple(samples), scores=facts)


def test_every_task_counts_equally():
    scored = [(Task.CLOZE, "a", 1.0)] + [(Task.CLASSIFICATION, person, 0.0) for person in "abc"]
    assert mean_of_tasks(scored).mean == pytest.approx(0.5)


def test_the_error_of_the_mean_of_means():
    """Balanced: the mean of means is the mean over people of each person's own, with the usual error."""
    rng = np.random.default_rng(0)
    table = rng.random((8, 2))  # people, tasks
    scored = [(task, str(p), table[p, t]) for p in range(8) for t, task in enumerate((Task.CLOZE, Task.GENERATION))]
    found, expected = mean_of_tasks(scored), table.mean(1)
    assert found.mean == pytest.approx(expected.mean())
    assert found.stderr == pytest.approx(expected.std(ddof=1) / np.sqrt(8))
    one = [(Task.CLOZE, str(p), table[p, 0]) for p in range(8)]
    assert mean_of_tasks(one) == clustered_mean(list(table[:, 0]), [str(p) for p in range(8)])


@pytest.mark.parametrize(
    ("forget", "retain", "expected"),
    [
        ((0.0, 0.0, 0.1), (1.0, 0.9, 1.0), "ok"),
        ((1.0, 1.0, 1.0), (1.0, 1.0, 1.0), "does not forget"),
        ((1.0, 1.0, 0.9), (1.0, 1.0, 1.0), "does not forget"),  # a fall of one standard error
        ((0.0, 0.0, 0.0), (0.5, 0.4, 0.5), "destroys retain"),
        ((1.0, 1.0, 1.0), (0.0, 0.0, 0.0), "does not forget, destroys retain"),
    ],
)
def test_verdicts(forget, retain, expected):
    vanilla = run_of(forget=(1.0, 1.0, 1.0), retain=(1.0, 1.0, 1.0))
    assert verdict(run_of(forget=forget, retain=retain), vanilla) == expected


def test_one_person_says_nothing_about_others():
    vanilla = run_of(forget=(1.0,), retain=(1.0, 1.0, 1.0))
    assert verdict(run_of(forget=(0.0,), retain=(1.0, 1.0, 1.0)), vanilla) == "falls, by an unknown error"
    assert verdict(run_of(forget=(1.0,), retain=(1.0, 1.0, 1.0)), vanilla) == "does not forget"


@pytest.mark.parametrize(
    ("before", "after", "expected"),
    [
        ((1.0, 0.5, 0.0), (0.9, 0.4, 0.0), "ok"),  # everyone a little, though people differ widely
        ((1.0, 1.0, 0.0, 0.1), (0.5, 0.5, 0.5, 0.5), "does not forget"),  # some remember more, though all score alike
    ],
)
def test_the_fall_is_judged_by_its_own_error_not_by_the_rows(before, after, expected):
    vanilla, run = run_of(forget=before), run_of(forget=after)
    assert verdict(run, vanilla) == expected
    difference = np.subtract(before, after)
    assert fall(run, vanilla).mean == pytest.approx(difference.mean())
    assert fall(run, vanilla).stderr == pytest.approx(difference.std(ddof=1) / np.sqrt(len(before)))


def test_the_fall_is_that_of_the_questions_of_both_runs():
    run = run_of(forget=(0.5, 0.5))
    assert fall(run, run_of(forget=(1.0, 1.0, 0.0))) == Estimate(0.5, 0.0, 2, 2)
    assert fall(run, run_of(retain=(1.0, 1.0))) is None


def test_a_task_that_is_destroyed_is_named():
    vanilla = run_of(forget=(1.0, 1.0), retain=(1.0, 1.0))
    mixed = replace(vanilla, samples=())
    for task, score in ((Task.CLOZE, 1.0), (Task.GENERATION, 0.1)):
        for sample in vanilla.samples:
            leaf = replace(sample.leaf, task=task)
            mixed = replace(mixed, samples=(*mixed.samples, replace(sample, leaf=leaf, score=score)))
    both = replace(mixed, samples=tuple(replace(sample, score=1.0) for sample in mixed.samples))
    assert verdict(mixed, both) == "destroys retain (generation)"


def test_a_verdict_says_only_what_was_evaluated():
    vanilla = run_of(forget=(1.0, 1.0), retain=(1.0, 1.0))
    assert verdict(run_of(retain=(1.0, 1.0)), vanilla) == "ok"
    assert verdict(run_of(forget=(1.0, 1.0)), vanilla) == "does not forget"


def test_what_training_took_comes_from_the_record(tmp_path):
    (tmp_path / "unlearning.yaml").write_text("training: {seconds: 3.5, trainable_parameters: 7, steps: 2}")
    run = run_of(forget=(0.0, 0.0))
    made = row("npo", run, tmp_path, run_of(forget=(1.0, 1.0)))
    assert (made.seconds, made.trainable, made.verdict) == (3.5, 7, "ok")
    (tmp_path / "unlearning.yaml").write_text("training: {}")  # prompting
    made = row("prompting", run, tmp_path, None)
    assert (made.seconds, made.trainable, made.verdict) == (None, 0, "")


ROWS = [
    Row("vanilla", {leaf_of("mllmu_forget_cloze_text"): Estimate(0.96, 0.013, 90, 9)}),
    Row("a|b<c", {leaf_of("mllmu_forget_cloze_text"): Estimate(0.5, None, 90, 1)}, 700.0, 139264, "ok"),
    Row("lost", failed="stage 'x' failed"),
]


def test_the_table_in_each_form():
    lines = output.markdown(ROWS).splitlines()
    assert lines[0] == "|  | forget↓ | time | trained parameters | verdict |"
    assert lines[2] == "| vanilla | 0.96 ±.01 |  |  |  |"
    assert lines[3] == "| a\\|b&lt;c | 0.50 | 12 min | 139,264 | ok |"
    assert lines[4] == "| lost | - |  |  | failed |"
    assert output.as_csv(ROWS).splitlines()[1].startswith("vanilla,0.96,0.013,")
    assert '"failed": "stage \'x\' failed"' in output.as_json(ROWS)
    assert "139,264" in output.text(ROWS)
    assert "verdict" not in output.markdown(ROWS[:1])


def test_only_the_block_of_the_sweep_is_replaced(tmp_path):
    file = tmp_path / "doc.md"
    file.write_text("before\n<!-- begin sweep a -->\nold\n<!-- end sweep a -->\nafter\n")
    output.replace_block(file, "sweep a", "new")
    assert file.read_text() == "before\n<!-- begin sweep a -->\nnew\n<!-- end sweep a -->\nafter\n"
    with pytest.raises(UserError, match="begin sweep b"):
        output.replace_block(file, "sweep b", "new")
    output.replace_block(tmp_path / "new.md", "sweep b", "x")
    assert (tmp_path / "new.md").read_text() == "<!-- begin sweep b -->\nx\n<!-- end sweep b -->\n"


def test_an_evaluation_that_is_no_result_or_a_part_is_a_failed_row(tmp_path):
    run = run_of(forget=(0.0, 0.5, 0.5))
    (leaf,) = run.leaves
    fewer = replace(run, facts={leaf.name: {"questions": 4}})
    assert row("npo", fewer, tmp_path, run).failed == f"not a result: {leaf.name}: 3 of 4 questions are scored"
    part = replace(fewer, limit=3.0)
    assert row("vanilla", part, None, None).failed == f"not the whole: {leaf.name}: a partial run (--limit 3)"
    assert output.as_csv([row("=npo", fewer, None, None)]).splitlines()[1].startswith("'=npo,")
