"""The registry, and what every method must tell about itself."""

from dataclasses import dataclass, fields
from pathlib import Path

import pytest

from mllmu_tasks.errors import UserError
from mllmu_unlearn import methods
from mllmu_unlearn.methods import Method, get, names, register


def test_names():
    assert {"gradient_ascent", "grad_diff", "kl_min", "npo", "prompting", "retain_finetune"} <= set(names())
    assert not [name for name in names() if name.startswith("_")]


@pytest.mark.parametrize("name", names())
def test_every_method_describes_itself(name):
    cls = get(name)
    assert cls.name == name
    assert all((cls.title, cls.formula, cls.paper, cls.__doc__, cls.kind))
    for option in fields(cls):
        assert "default from" in option.metadata["help"]
    lines = Path(methods.__path__[0], f"{name}.py").read_text().splitlines()
    assert len(lines) <= 80


def test_duplicates_are_refused_and_the_same_class_is_not_a_duplicate():
    cls = get("npo")
    assert register(cls) is cls

    @dataclass
    class Impostor(Method):
        name = "npo"

    with pytest.raises(ValueError, match="npo"):
        register(Impostor)
    assert get("npo") is cls


def test_unknown_names():
    with pytest.raises(UserError, match="Did you mean 'grad_diff'"):
        get("grad-dif")
    with pytest.raises(UserError, match=r"Known: .*npo"):
        get("zzz")


def test_a_method_without_state_refuses_one():
    with pytest.raises(ValueError, match="no state"):
        get("npo")().load_state_dict({"weight": 1})
    get("npo")().load_state_dict({})
