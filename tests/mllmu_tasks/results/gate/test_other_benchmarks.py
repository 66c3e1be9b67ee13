import json

import numpy as np
import pytest

from mllmu_tasks.errors import UserError
from mllmu_tasks.results.gate.evaluation import open_side
from mllmu_tasks.results.gate.judge import judge
from mllmu_tasks.results.gate.outcomes import Reason, Verdict
from mllmu_tasks.results.gate.policy import parse_policy

LEAF = {"mllmu_forget_cloze_image": {"1": [0.0]}}
RULE = "{benchmark: mmmu_val, metric: acc, at_least: baseline - 0.01}"


@pytest.fixture
def write_run(write_judged):
    return write_judged


def check(rule, results, baseline=None):
    sides = [open_side(role, [path], 0.95) for role, path in (("results", results), ("baseline", baseline)) if path]
    return judge(parse_policy(f"rules: [{rule}]", "p.yaml"), *sides)


@pytest.fixture
def run(write_run):
    """run(name, scores=...) with single scores, or run(name, values=...) with reported numbers only."""

    def make(name, scores=None, values=None, config=None):
        reported = values or {"acc,none": float(np.mean(scores)), "acc_stderr,none": "N/A"}
        folder = write_run(name, LEAF, other={"mmmu_val": {"alias": "mmmu_val", **reported}}, config=config)
        if scores is not None:
            rows = [{"doc_id": i, "doc_hash": f"h{i}", "acc": float(s)} for i, s in enumerate(scores)]
            file = next(folder.rglob("*_results.json")).with_name("20260101_120000_samples_mmmu_val.jsonl")
            file.write_text("".join(json.dumps(row) + "\n" for row in rows))
        return folder

    return make


def test_single_scores_are_paired(run):
    rng = np.random.default_rng(0)
    before = rng.random(900) < 0.4
    (outcome,) = check(RULE, run("same", before), run("before", before)).outcomes
    assert outcome.verdict is Verdict.HELD
    assert outcome.questions == 900
    worse = before & (rng.random(900) < 0.8)
    assert check(RULE, run("worse", worse), run("before2", before)).exit_code == 1
    flipped = np.where(rng.random(900) < 0.2, rng.random(900) < 0.4, before)
    (outcome,) = check(RULE, run("noisy", flipped), run("before3", before)).outcomes
    assert outcome.reason is Reason.PEOPLE
    other = check(RULE, run("fewer", before[:800]), run("before4", before))
    assert (other.exit_code, other.outcomes[0].reason) == (2, Reason.INCOMPLETE)


def test_reported_errors_are_used_without_single_scores(run):
    before = run("before", values={"acc,none": 0.40, "acc_stderr,none": 0.01})
    assert check(RULE, run("a", values={"acc,none": 0.20, "acc_stderr,none": 0.01}), before).exit_code == 1
    assert check(RULE, run("b", values={"acc,none": 0.45, "acc_stderr,none": 0.01}), before).exit_code == 0
    assert check(RULE, run("c", values={"acc,none": 0.40, "acc_stderr,none": 0.01}), before).exit_code == 2
    clustered = {"acc,none": 0.20, "acc_stderr,none": 0.01, "acc_stderr_clustered,none": 0.2}
    assert check(RULE, run("d", values=clustered), before).exit_code == 2
    share = "{benchmark: mmmu_val, metric: acc, at_least: 90 % of baseline}"
    assert check(share, run("e", values={"acc,none": 0.45, "acc_stderr,none": 0.01}), before).exit_code == 0


def test_numbers_without_any_error_need_point(run):
    before, after = run("before", values={"acc,none": 0.4}), run("after", values={"acc,none": 0.395})
    (outcome,) = check(RULE, after, before).outcomes
    assert (outcome.verdict, outcome.reason) == (Verdict.UNDECIDED, Reason.UNKNOWN)
    assert "point: true" in outcome.why
    point = RULE.replace("}", ", point: true}")
    assert check(point, after, before).exit_code == 0
    assert check(point, run("low", values={"acc,none": 0.38}), before).exit_code == 1


def test_absolute_floor_and_scores_on_another_scale(run):
    floor = "{benchmark: mmmu_val, metric: acc, at_least: 30}"
    scores = np.random.default_rng(1).normal(50, 10, 100)
    assert check(floor, run("a", scores)).exit_code == 0
    assert check(floor, run("b", scores - 40)).exit_code == 1
    assert "too few" in check(floor, run("c", scores[:20])).outcomes[0].why


def test_what_was_not_run_or_is_not_reported(run):
    folder = run("a", values={"acc,none": 0.4, "acc,strict": 0.3})
    found = check("{benchmark: mmmu_vall, metric: acc, at_least: 0.1}", folder)
    assert found.exit_code == 2
    assert "Did you mean 'mmmu_val'" in found.outcomes[0].why
    with pytest.raises(UserError, match="several filters"):
        check("{benchmark: mmmu_val, metric: acc, at_least: 0.1}", folder)
    assert check("{benchmark: mmmu_val, metric: 'acc,strict', at_least: 0.1, point: true}", folder).exit_code == 0
    with pytest.raises(UserError, match="Did you mean 'acc'"):
        check("{benchmark: mmmu_val, metric: accc, at_least: 0.1}", folder)
    partial = run("partial", values={"acc,none": 0.4}, config={"limit": 3})
    assert check("{benchmark: mmmu_val, metric: acc, at_least: 0.1, point: true}", partial).exit_code == 2
