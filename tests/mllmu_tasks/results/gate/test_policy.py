import pytest

from mllmu_tasks.errors import UserError
from mllmu_tasks.results.gate.names import default_names, leaves_of, require_known, tasks_of
from mllmu_tasks.results.gate.policy import default_text, load_policy, parse_policy
from mllmu_tasks.results.gate.rules import Bound
from mllmu_tasks.results.stats.contrast import Kind


def rules(entry: str):
    policy = parse_policy(f"rules:\n  - {entry}\n", "p.yaml")
    require_known(policy.rules, policy.names, [])
    return policy.rules


def names_of(rule, ratio=5):
    return leaves_of(rule, ratio, default_names(), [])


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
    assert len(names_of(pooled)) == 6
    (bleu,) = rules("{split: forget, ratio: 10, metric: mllmu_bleu, at_most: 0.1}")
    assert names_of(bleu, 10) == [
        *("mllmu_forget_10_generation_image", "mllmu_forget_10_generation_text"),
    ]
    (other,) = rules("{benchmark: mmmu_val, metric: acc, at_least: baseline - 0.01, point: true, name: MMMU}")
    assert (other.name, other.point, other.demand) == ("MMMU", True, "≥ baseline - 0.01")


def test_guards_stand_beside_the_rule_that_pools():
    found = rules("{split: [forget, test], task: cloze, at_most: 0.15, guard: modality}")
    assert [(rule.name, rule.modality, rule.guard) for rule in found] == [
        (f"{split} cloze{f' {modality}' if modality else ''}", modality, bool(modality))
        for split in ("forget", "test")
        for modality in (None, "image", "text")
    ]
    named = rules("{split: forget, at_most: reference + 0.05, guard: modality, name: N}")
    assert [rule.name for rule in named] == ["N", "N image", "N text"]
    assert [len(names_of(rule)) for rule in named] == [6, 3, 3]


def test_the_default_policy_is_these_rules():
    policy = load_policy(None)
    assert [(rule.name, rule.demand, rule.guard) for rule in policy.rules] == [
        *(
            (f"{split} {task}{f' {modality}' if modality else ''}", f"≤ {bound}", bool(modality))
            for task, bound in (("classification", 0.45), ("cloze", 0.2), ("generation", 0.4))
            for split in ("forget", "test")
            for modality in (None, "image", "text")
        ),
        *(
            (f"{split} {task}", "≥ baseline or reference - 0.05", False)
            for split in ("retain", "real")
            for task in ("classification", "cloze", "generation")
        ),
        *((f"{split} answered", "≥ 0.95", False) for split in ("retain", "real")),
    ]


def test_the_default_policy_names_its_tasks():
    """A task that is added one day must not add a rule: the bar stays where it was set."""
    assert "task: each" not in default_text()
    each = rules("{split: forget, task: each, at_most: 0.1}")
    (pooled,) = rules("{split: forget, at_most: 0.1}")
    assert [rule.task for rule in each] == ["classification", "generation", "cloze"]
    assert tasks_of(pooled, default_names()) == ["classification", "generation", "cloze"]


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
        ("{split: forget, at_most: 0.1, guard: task}", "guard 'task' is not known; write 'guard: modality'"),
        ("{split: forget, modality: image, at_most: 0.1, guard: modality}", "leave out one of the two keys"),
        ("{split: retain, metric: answered, at_least: 0.9, guard: modality}", "write 'modality: each'"),
        ("{benchmark: mmmu_val, metric: acc, at_least: 0.1, guard: modality}", "'guard' is for splits"),
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
