import pytest

from mllmu_tasks.benchmark import Modality, Split, Task
from mllmu_tasks.errors import UserError
from mllmu_tasks.results.contrast import Kind
from mllmu_tasks.results.policy import load_policy, parse_policy
from mllmu_tasks.results.rules import Bound


def rules(entry: str):
    return parse_policy(f"rules:\n  - {entry}\n", "p.yaml").rules


@pytest.mark.parametrize(
    ("text", "kind", "amount", "sides"),
    [
        (0.15, Kind.SCORE, 0.15, ()),
        (1e-5, Kind.SCORE, 1e-5, ()),
        ("15 %", Kind.SCORE, 0.15, ()),
        ("reference + 0.05", Kind.DIFFERENCE, 0.05, ("reference",)),
        ("baseline-.01", Kind.DIFFERENCE, -0.01, ("baseline",)),
        ("baseline", Kind.DIFFERENCE, 0.0, ("baseline",)),
        ("baseline or reference - 0.05", Kind.DIFFERENCE, -0.05, ("baseline", "reference")),
        ("95 % of baseline", Kind.SHARE, 0.95, ("baseline",)),
        ("0.95 * baseline", Kind.SHARE, 0.95, ("baseline",)),
    ],
)
def test_bounds(text, kind, amount, sides):
    bound = Bound.parse(text, "here")
    assert (bound.kind, bound.amount, bound.sides) == (kind, pytest.approx(amount), sides)


def test_each_and_lists_make_rules_and_absence_pools():
    found = rules("{split: [forget, test], task: cloze, modality: each, at_most: 0.15}")
    assert [rule.name for rule in found] == [
        *("forget cloze image", "forget cloze text", "test cloze image", "test cloze text"),
    ]
    (pooled,) = rules("{split: retain, at_least: 95 % of baseline}")
    assert len(pooled.leaves(5)) == 6
    (bleu,) = rules("{split: forget, ratio: 10, metric: mllmu_bleu, at_most: 0.1}")
    assert [leaf.name for leaf in bleu.leaves(10)] == [
        *("mllmu_forget_10_generation_image", "mllmu_forget_10_generation_text"),
    ]
    (other,) = rules("{benchmark: mmmu_val, metric: acc, at_least: baseline - 0.01, point: true, name: MMMU}")
    assert (other.name, other.point, other.demand) == ("MMMU", True, "≥ baseline - 0.01")


def test_the_default_policy_covers_what_the_purpose_names():
    policy = load_policy(None)
    ceilings = [rule for rule in policy.rules if rule.ceiling]
    assert {(r.split, r.task, r.modality) for r in ceilings} == {
        (s, t, m) for s in (Split.FORGET, Split.TEST) for t in Task for m in Modality
    }
    assert all(rule.bound.kind is Kind.SCORE for rule in ceilings)
    floors = [rule for rule in policy.rules if not rule.ceiling and rule.metric == "score"]
    assert {(r.split, r.task) for r in floors} == {(s, t) for s in (Split.RETAIN, Split.REAL) for t in Task}
    assert all(rule.bound.sides == ("baseline", "reference") for rule in floors)


@pytest.mark.parametrize(
    ("entry", "sentence"),
    [
        ("{splitt: forget, at_most: 0.1}", "'splitt' is not known. Did you mean 'split'"),
        ("{split: forgot, at_most: 0.1}", "split 'forgot' is not known. Did you mean 'forget'"),
        ("{split: forget, task: close, at_most: 0.1}", "Did you mean 'cloze'"),
        ("{split: forget, modality: images, at_most: 0.1}", "Did you mean 'image'"),
        ("{split: forget, metric: mllmu_rouge, at_most: 0.1}", "Did you mean 'mllmu_rouge"),
        ("{split: forget, task: cloze, metric: mllmu_bleu, at_most: 0.1}", "cloze has no mllmu_bleu"),
        ("{split: retain, at_least: basline - 0.1}", "Did you mean 'baseline'"),
        ("{split: forget, at_most: 15}", "scores lie between 0 and 1; write 0.15"),
        ("{split: forget, at_most: -0.1}", "below 0"),
        ("{split: forget, at_most: .nan}", "no finite number"),
        ("{split: forget, at_most: true}", "'True' is no bound"),
        ("{split: forget, at_most: '0,15'}", "'0,15' is no bound"),
        ("{split: forget, at_most: reference + 5 %}", "is no bound"),
        ("{split: forget}", "'at_most' or 'at_least'"),
        ("{split: forget, at_most: 0.1, at_least: 0.0}", "'at_most' or 'at_least'"),
        ("{at_most: 0.1}", "'split'"),
        ("{split: forget, benchmark: mmmu_val, at_most: 0.1}", "'split'"),
        ("{split: [], at_most: 0.1}", "an empty list"),
        ("{split: forget, ratio: 7, at_most: 0.1}", "ratio '7'"),
        ("{split: forget, point: 1, at_most: 0.1}", "neither true nor false"),
        ("{split: retain, metric: answered, at_least: baseline}", "measured in one run"),
        ("{benchmark: mmmu_val, at_least: 0.1}", "name the 'metric'"),
        ("{benchmark: mmmu_val, metric: acc, task: cloze, at_least: 0.1}", "'task' is for splits"),
        ("forget <= 0.1", "expected keys and values"),
        ("{split: forget, split: test, at_most: 0.1}", "'split' is there twice"),
    ],
)
def test_what_is_not_understood_is_an_error(entry, sentence):
    with pytest.raises(UserError) as error:
        rules(entry)
    assert sentence in str(error.value)
    assert "p.yaml" in str(error.value)


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("", "expected keys and values"),
        ("rules: []", "at least one rule"),
        ("rule: [{split: forget, at_most: 0.1}]", "Did you mean 'rules'"),
        ("level: 5\nrules: [{split: forget, at_most: 0.1}]", "level '5'"),
        ("format: 2\nrules: [{split: forget, at_most: 0.1}]", "format 2"),
        ("rules: [", "no valid YAML"),
        ("rules: !!python/object/apply:os.system [ls]", "no valid YAML"),
    ],
)
def test_a_file_that_is_wrong_as_a_whole(tmp_path, text, sentence):
    file = tmp_path / "policy.yaml"
    file.write_text(text)
    with pytest.raises(UserError, match=sentence):
        load_policy(file)
    with pytest.raises(UserError, match="cannot be read"):
        load_policy(tmp_path / "none.yaml")
