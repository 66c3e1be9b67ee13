"""The whole benchmark through lmms-eval with answers that are known: all right, and none at all."""

import pytest
from command_lines import lmms_eval

from mllmu_tasks.benchmarks.mllmu.spec import METRICS, Split, leaves
from mllmu_tasks.results.runs import load_runs

# lmms-eval refuses a command that names a leaf twice, and the groups of two ratios share mllmu_real.
GROUPS = ",".join(["mllmu", *dict.fromkeys(x.group for x in leaves() if x.ratio != 5 and x.split is not Split.REAL)])


@pytest.fixture(scope="module")
def gold(tmp_path_factory):
    return lmms_eval(
        tmp_path_factory.mktemp("gold"),
        *("--model", "mllmu_replay", "--model_args", "answers=gold", "--tasks", GROUPS),
        MLLMU_DATA="mini",
        MLLMU_SHOTS="1,1",  # two cloze shots would empty the mini benchmark's 5 % set of three people
    )


def test_gold_scores_one_on_every_metric_of_every_leaf(gold):
    results = gold.results["results"]
    for leaf in leaves():
        for metric in (*METRICS[leaf.task], "mllmu_answered"):
            value = results[leaf.name][f"{metric},none"]
            # BLEU of answers under four words is below 1 by its definition (4-grams, smoothing)
            if metric == "mllmu_bleu":
                assert 0 < value <= 1, leaf.name
            else:
                assert value == pytest.approx(1), (leaf.name, metric)


def test_every_leaf_carries_its_facts_and_a_clustered_error(gold):
    (run,) = load_runs([gold.folder])
    assert {leaf.name for leaf in run.leaves} == {leaf.name for leaf in leaves()}
    for leaf in leaves():
        facts = run.facts[leaf.name]
        assert facts["data"] == "mini"
        assert len(facts["data_hash"]) == 64
        assert "mllmu_by_person_stderr_clustered,none" in gold.results["results"][leaf.name]


def test_the_printed_table_fits_a_terminal(gold):
    rows = [line for line in gold.output.splitlines() if line.startswith(("| - mllmu", "|mllmu"))]
    assert len(rows) > len(list(leaves()))
    assert max(map(len, rows)) < 130


def test_no_shot_person_is_scored_and_nobody_else_is_missing(gold):
    (run,) = load_runs([gold.folder])
    shown = run.facts["mllmu_forget_15_classification_image"]["shot_people"]
    asked = {s.person for s in run.samples if s.leaf.name == "mllmu_forget_15_classification_image"}
    assert len(shown) == 1
    assert set(shown).isdisjoint(asked)
    assert len(asked) == 8


def test_no_answers_score_zero_beside_another_benchmark(tmp_path, other_benchmark):
    outcome = lmms_eval(
        tmp_path,
        *("--model", "mllmu_replay", "--model_args", "answers=constant:"),
        *("--tasks", "mllmu_forget_15,mllmu_real", "--include_path", str(other_benchmark)),
        MLLMU_DATA="mini",
    )
    (run,) = load_runs([outcome.folder])
    assert {s.score for s in run.samples} == {0.0}
    assert not any(s.answered for s in run.samples)
    for leaf in run.leaves:
        assert outcome.results["results"][leaf.name]["mllmu_answered,none"] == 0
