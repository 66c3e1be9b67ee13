import pytest

from mllmu_tasks.errors import UserError
from mllmu_tasks.results.gate.declared import Declared
from mllmu_tasks.results.gate.policy import parse_policy

RULE = "rules: [{split: real, at_least: 0.5}]\n"


def declared(text: str) -> Declared:
    return parse_policy(f"{RULE}declared: {text}\n", "p.yaml").declared


def test_what_can_be_declared():
    assert parse_policy(RULE, "p").declared == Declared()
    found = declared("{base: a/b, people: ['005'], gen_kwargs: {max_new_tokens: 9}, system_prompt: Be kind., data: d}")
    assert found == Declared(
        base="a/b", people=("005",), gen_kwargs={"max_new_tokens": 9}, system_prompt="Be kind.", data="d"
    )


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("[]", "expected keys and values"),
        ("{bases: x}", "Did you mean 'base'"),
        ("{base: 7}", "base must be a text"),
        ("{weights: ''}", "weights must be a text"),
        ("{people: [5]}", "people must be a list of ids in quotes"),
        ("{people: '005'}", "people must be a list"),
        ("{gen_kwargs: x}", "gen_kwargs must be keys and values"),
    ],
)
def test_anything_else_is_an_error(text, words):
    with pytest.raises(UserError, match=words):
        declared(text)
