import json

import pytest

from mllmu_tasks.benchmarks.mllmu.spec import leaves
from mllmu_tasks.errors import UserError
from mllmu_tasks.results.gate.evaluation import open_side
from mllmu_tasks.results.gate.judge import judge
from mllmu_tasks.results.gate.outcomes import Reason, Verdict
from mllmu_tasks.results.gate.policy import load_policy, parse_policy

CLOZE = "mllmu_forget_cloze_image"
CLOZE_TEXT = "mllmu_forget_cloze_text"
RETAIN = "mllmu_retain_cloze_image"
CEILING = "{split: forget, task: cloze, modality: image, at_most: 0.3333}"
FLOOR = "{split: retain, task: cloze, modality: image, at_least: baseline - 0.05}"


@pytest.fixture
def write_run(write_judged):
    return write_judged


def people(count, scores):
    return {f"{number:03}": list(scores) for number in range(1, count + 1)}


def policy(*entries):
    return parse_policy("rules:\n" + "".join(f"  - {entry}\n" for entry in entries), "p.yaml")


def gate(rules, results, baseline=None, reference=None, warn=False):
    sides = {"baseline": baseline, "reference": reference}
    opened = {role: open_side(role, [folder], 0.95) for role, folder in sides.items() if folder}
    return judge(rules, open_side("results", [results], 0.95), **opened, warn=warn)


@pytest.mark.parametrize(
    ("count", "scores", "verdict"),
    [
        (9, [1, 1], Verdict.BROKEN),
        (2, [1, 1], Verdict.UNDECIDED),
        (3, [0, 0], Verdict.UNDECIDED),
        (9, [0, 0], Verdict.HELD),
        (1, [1] * 50, Verdict.UNDECIDED),  # fifty questions about one person are one person
    ],
)
def test_a_ceiling_of_a_third(write_run, count, scores, verdict):
    found = gate(policy(CEILING), write_run("a", {CLOZE: people(count, scores)}))
    assert found.verdict is verdict
    assert found.exit_code == {Verdict.HELD: 0, Verdict.BROKEN: 1, Verdict.UNDECIDED: 2}[verdict]


def test_undecided_says_how_many_people_would_do_and_can_be_let_pass(write_run):
    folder = write_run("a", {CLOZE: people(4, [0, 0])})
    (outcome,) = gate(policy(CEILING), folder).outcomes
    assert outcome.reason is Reason.PEOPLE
    assert outcome.needed == 8  # (2/3) ** 8 = .039
    assert "4 people are too few; about 8 would do" in outcome.why
    assert gate(policy(CEILING), folder, warn=True).exit_code == 0


def test_paired_floor_against_a_baseline(write_run):
    before = write_run("before", {RETAIN: people(100, [1, 0])})
    same = gate(policy(FLOOR), write_run("same", {RETAIN: people(100, [1, 0])}), before)
    assert same.verdict is Verdict.HELD
    assert same.outcomes[0].low > -0.05
    worse = {f"{n:03}": [1, 0] if n % 2 else [0, 0] for n in range(1, 101)}
    broken = gate(policy(FLOOR), write_run("worse", {RETAIN: worse}), before)
    assert broken.verdict is Verdict.BROKEN
    assert broken.outcomes[0].value == pytest.approx(-0.25)
    assert (broken.outcomes[0].score, broken.outcomes[0].other) == (pytest.approx(0.25), pytest.approx(0.5))
    shares = policy("{split: retain, task: cloze, modality: image, at_least: 95 % of baseline}")
    assert gate(shares, write_run("worse2", {RETAIN: worse}), before).outcomes[0].value == pytest.approx(0.5)


def test_without_the_other_side_nothing_is_known(write_run):
    folder = write_run("a", {RETAIN: people(100, [1, 1])})
    found = gate(policy(FLOOR), folder)
    assert (found.verdict, found.exit_code) == (Verdict.UNDECIDED, 2)
    assert found.outcomes[0].reason is Reason.UNKNOWN
    assert "without --baseline" in found.outcomes[0].why
    assert gate(policy(FLOOR), folder, warn=True).exit_code == 0


def test_the_default_policy(write_run):
    everyone = {leaf.name: people(90, [1, 1]) for leaf in leaves(5)}
    forgotten = {name: people(90, [0, 0]) if "forget" in name or "test" in name else s for name, s in everyone.items()}
    vanilla, good = write_run("vanilla", everyone), write_run("good", forgotten)
    assert gate(load_policy(None), vanilla).exit_code == 1
    assert gate(load_policy(None), good, baseline=vanilla).exit_code == 0
    never_knew = write_run("never", forgotten, role="reference")
    assert gate(load_policy(None), good, reference=never_knew).exit_code == 0
    alone = gate(load_policy(None), good)
    assert alone.exit_code == 2
    assert {o.rule.split for o in alone.outcomes if o.reason is Reason.UNKNOWN} == {"retain", "real"}


GUARDED = "{split: forget, task: cloze, at_most: 0.5, guard: modality}"


@pytest.mark.parametrize(
    ("count", "image", "text", "verdicts"),
    [
        (20, [0, 0], [0, 0], ("HELD", "HELD", "HELD")),
        # Known by name, avoided by picture: both together are shown to score below the bound, the name above it.
        (40, [0, 0, 0], [1, 1, 0], ("HELD", "HELD", "BROKEN")),
        # Too few people to say BROKEN of one modality, whose measured score still may not pass.
        (12, [0, 0, 0], [1, 1, 0], ("HELD", "HELD", "UNDECIDED")),
        # Each modality is measured inside, and both together are too few people to show it.
        (2, [0, 0], [0, 0], ("UNDECIDED", "HELD", "HELD")),
    ],
)
def test_one_modality_may_break_a_pooled_rule_and_must_be_measured_to_hold_it(write_run, count, image, text, verdicts):
    folder = write_run("a", {CLOZE: people(count, image), CLOZE_TEXT: people(count, text)})
    found = gate(policy(GUARDED), folder)
    given = {outcome.rule.name: outcome.verdict for outcome in found.outcomes}
    assert given == dict(zip(("forget cloze", "forget cloze image", "forget cloze text"), verdicts, strict=True))
    assert found.verdict == min(verdicts, key=["BROKEN", "UNDECIDED", "HELD"].index)
    guards = [outcome for outcome in found.outcomes if outcome.rule.guard]
    assert all(outcome.p_held is None and outcome.p_adjusted is not None for outcome in guards)
    assert all("measured and not tested" in o.why for o in guards if o.verdict is Verdict.HELD)


def test_guards_are_counted_by_holm_and_know_what_is_missing(write_run):
    found = gate(policy(GUARDED), write_run("a", {leaf: people(4, [1, 1]) for leaf in (CLOZE, CLOZE_TEXT)})).outcomes
    assert [o.p_adjusted for o in found] == pytest.approx([3 * 0.5**4] * 3)
    assert all(outcome.needed == 6 for outcome in found)  # .5 ** 6 is below .05 / 3
    alone = gate(policy(GUARDED), write_run("b", {CLOZE: people(20, [0, 0])}))
    assert alone.exit_code == 2
    incomplete = {o.rule.name for o in alone.outcomes if o.reason is Reason.INCOMPLETE}
    assert incomplete == {"forget cloze", "forget cloze text"}


def test_a_fall_of_few_people_is_shown_by_sign_flips(write_run):
    scores = {f"{n:03}": [1, n % 2] for n in range(1, 25)}
    fallen = {f"{n:03}": [n % 3 % 2, n % 2] for n in range(1, 25)}  # two thirds of the people by a half
    demand = policy("{split: forget, task: cloze, modality: image, at_most: baseline - 0.15}")
    found = gate(demand, write_run("now", {CLOZE: fallen}), write_run("before", {CLOZE: scores}))
    assert found.verdict is Verdict.HELD
    (outcome,) = found.outcomes
    assert outcome.value == pytest.approx(-1 / 3)
    assert outcome.high < -0.15


def test_one_broken_rule_decides_and_comes_first(write_run):
    folder = write_run("a", {CLOZE: people(20, [1, 1])})
    rules = policy(FLOOR, "{split: real, at_least: 0.5}", CEILING)
    found = gate(rules, folder)
    assert found.exit_code == 1
    assert found.outcomes[0].verdict is Verdict.BROKEN
    assert found.problems  # real was not evaluated


def test_holm_counts_every_rule(write_run):
    folder = write_run("a", {CLOZE: people(4, [1, 1])})
    alone = gate(policy(CEILING), folder).outcomes[0]
    assert alone.verdict is Verdict.BROKEN
    beside = gate(policy(CEILING, *[FLOOR] * 9), folder).outcomes
    (same,) = [outcome for outcome in beside if outcome.p_broken is not None]
    assert same.p_adjusted == pytest.approx(10 * alone.p_broken)
    assert same.verdict is Verdict.UNDECIDED


@pytest.mark.parametrize(
    ("changed", "named"),
    [
        ({"config": {"limit": 8}}, "--limit 8"),
        ({"config": {"offset": 4}}, "--offset 4"),
        ({"facts": {"questions": 41}}, "40 of 41 questions are scored"),
        ({"facts": {"data_hash": None}}, "which data"),
        ({"config": {"model": "llava_hf"}, "answered": 0}, "llava_hf may hide errors"),
    ],
)
def test_an_incomplete_run_is_never_held(write_run, changed, named):
    found = gate(policy(CEILING), write_run("a", {CLOZE: people(20, [0, 0])}, **changed), warn=True)
    assert (found.verdict, found.exit_code) == (Verdict.UNDECIDED, 2)
    assert any(named in str(problem) for problem in found.problems)


def test_leaves_that_are_missing_or_empty(write_run):
    both = policy("{split: forget, task: cloze, at_most: 0.3333}")
    found = gate(both, write_run("a", {CLOZE: people(20, [0, 0])}))
    assert found.exit_code == 2
    assert [str(p) for p in found.problems] == ["results: mllmu_forget_cloze_text: was not evaluated"]
    empty = gate(policy(CEILING), write_run("b", {CLOZE: {}}, facts={"questions": 0}))
    assert empty.exit_code == 2
    assert "0 questions" in empty.outcomes[0].why


def test_scores_that_cannot_be(write_run):
    for name, scores, named in (("twice", [0, 0], "logged twice"), ("odd", [1.5, 0], "outside 0..1")):
        folder = write_run(name, {CLOZE: people(20, scores)})
        (file,) = folder.rglob("*.jsonl")
        if name == "twice":
            file.write_text(file.read_text() * 2)
        found = gate(policy(CEILING), folder)
        assert found.exit_code == 2
        assert named in found.outcomes[0].why


def test_samples_of_another_run(write_run):
    folder = write_run("a", {CLOZE: people(20, [0, 0])})
    (file,) = folder.rglob("*_results.json")
    data = json.loads(file.read_text())
    data["results"][CLOZE]["mllmu_by_person,none"] = 0.9
    file.write_text(json.dumps(data))
    assert "the results file says 0.9000" in gate(policy(CEILING), folder).outcomes[0].why


@pytest.mark.parametrize(
    ("changed", "named"),
    [
        ({"facts": {"data_hash": "d2"}}, "data_hash"),
        ({"facts": {"seed": 1}}, "seed"),
        ({"facts": {"shots": [0, 0]}}, "shots"),
        ({"model_args": "answers=gold,prompt_style=official"}, "prompt_style"),
        ({"config": {"gen_kwargs": "max_new_tokens=5"}}, "gen_kwargs"),
        ({"config": {"limit": 5}}, "--limit 5"),
    ],
)
def test_sides_that_differ_are_not_compared(write_run, changed, named):
    results = write_run("results", {RETAIN: people(100, [1, 1]), CLOZE: people(20, [1, 1])})
    before = write_run("before", {RETAIN: people(100, [1, 1])}, **changed)
    found = gate(policy(FLOOR), results, before, warn=True)
    assert found.exit_code == 2
    assert named in found.outcomes[0].why
    assert gate(policy(FLOOR, CEILING), results, before).exit_code == 1  # the ceiling needs no baseline


def test_other_questions_are_not_compared(write_run):
    results = write_run("results", {RETAIN: people(100, [1, 1])})
    found = gate(policy(FLOOR), results, write_run("before", {RETAIN: people(99, [1, 1])}))
    assert found.exit_code == 2
    assert "other questions" in found.outcomes[0].why


def test_silence_on_retain_is_never_held_but_may_be_broken(write_run):
    silent = write_run("silent", {RETAIN: people(100, [0, 0])}, answered=0)
    floor = "{split: retain, task: cloze, modality: image, at_least: 0.0}"
    held = gate(policy(floor), silent)
    assert held.outcomes[0].reason is Reason.INCOMPLETE
    asked = "{split: retain, task: cloze, modality: image, metric: answered, at_least: 0.9}"
    assert gate(policy(asked), silent).exit_code == 1
    assert gate(policy(FLOOR), silent, write_run("before", {RETAIN: people(100, [1, 1])})).exit_code == 1


def test_counts_are_measured(write_run):
    folder = write_run("a", {CLOZE: people(20, [0, 0])})
    where = "split: forget, task: cloze, modality: image"
    assert gate(policy(f"{{{where}, metric: questions, at_least: 40}}"), folder).exit_code == 0
    assert gate(policy(f"{{{where}, metric: people, at_least: 21}}"), folder).exit_code == 1
    assert gate(policy(f"{{{where}, at_most: 0, point: true}}"), folder).exit_code == 0


def test_ratios(write_run):
    ten = write_run("ten", {"mllmu_forget_10_cloze_image": people(20, [0, 0])})
    assert gate(policy(CEILING), ten).exit_code == 0
    both = write_run("both", {CLOZE: people(20, [0, 0]), "mllmu_forget_10_cloze_image": people(20, [1, 1])})
    with pytest.raises(UserError, match="forget ratios 5, 10"):
        gate(policy(CEILING), both)
    assert gate(policy(CEILING.replace("{", "{ratio: 5, ")), both).exit_code == 0
    assert gate(policy(CEILING.replace("{", "{ratio: 10, ")), both).exit_code == 1


def test_one_evaluation_a_side(write_run):
    write_run("all/one", {CLOZE: people(9, [0, 0])}, other={})
    write_run("all/two", {CLOZE: people(9, [1, 1])}, other={})
    with pytest.raises(UserError, match="more than once"):
        open_side("results", [write_run("all/three", {}, other={}).parent], 0.95)
    same = {"other": {}, "model_args": "pretrained=m,peft=a"}
    one = write_run("one", {CLOZE: people(9, [0, 0])}, **same)
    two = write_run("two", {RETAIN: people(9, [0, 0])}, **same)
    assert set(open_side("results", [one, two], 0.95).samples) == {CLOZE, RETAIN}
    other_model = write_run("x", {RETAIN: people(9, [0, 0])}, other={}, model_args="answers=file:y")
    with pytest.raises(UserError, match="different models"):
        open_side("results", [one, other_model], 0.95)
    (two / "nothing").mkdir()
    with pytest.raises(UserError, match="exit code 0 even when a run failed or was killed"):
        open_side("results", [two / "nothing"], 0.95)
