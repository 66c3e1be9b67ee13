"""YAML from outside: what is small on disk and huge in memory is refused in a sentence."""

import pytest

from mllmu_tasks import strict_yaml
from mllmu_tasks.errors import UserError

LAUGHS = "a0: &a0 [x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]\n" for n in range(1, 12)
)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        (LAUGHS, "more than 500,000 values, aliases expanded"),
        ("- a\n" * 500_001, "more than 500,000 values"),
        ("- " * 20_000 + "x", "more than 60 levels deep"),
        ("{a: " * 20_000, "deep|nesting"),
        ("[" * 20_000, "deep|nesting"),
        ("a: &x [*x]", "'x' stands for nothing, or for what it is in"),
        ("a: *nobody", "'nobody'|undefined alias"),
        ("a: " + "9" * 5_000, "a number of 5,000 digits"),
        ("a: 0x" + "f" * 5_000, "a number of 5,002 digits"),
        ("a: 1" + ":59" * 3_000, "a number of 9,001 digits"),
        ("a: 1\na: 2", "'a' is there twice"),
        ("? [1]\n: 2", "unhashable"),
        ("a: !!float ''", "no valid YAML"),
        ("a: !!bool x", "no valid YAML"),
        ("a: !!timestamp x", "no valid YAML"),
        ("a: 2001-99-99", "month"),
        ("a: !!python/object/apply:os.system [ls]", "could not determine a constructor"),
        ("a: \x1b", "no valid YAML"),
    ],
)
def test_what_is_refused(text, says):
    with pytest.raises(UserError, match=says) as caught:
        strict_yaml.load(text, "the recipe 'r.yaml'")
    assert str(caught.value).startswith("the recipe 'r.yaml' is no valid YAML: ")
    assert len(str(caught.value)) < 400


def test_plain_yaml_is_read_with_its_aliases_and_merges():
    text = "a: &a {x: 1, y: [1.5, .inf, 0x10, true, null]}\nb: *a\nc: {<<: *a, x: 2}\n"
    one = {"x": 1, "y": [1.5, float("inf"), 16, True, None]}
    assert strict_yaml.load(text, "") == {"a": one, "b": one, "c": one | {"x": 2}}
    assert strict_yaml.load("", "") is None
