"""What replaces functions of lmms-eval: once, and as its own functions would read."""

import io

import pytest
import yaml

from mllmu_tasks.harness.patches import load_task_file, replace_once, safe_task_files


def test_a_function_is_replaced_once():
    class Owner:
        def count(self):
            return 1

    for _ in range(2):
        replace_once(Owner, "count", lambda original: lambda self: original(self) + 1)
    assert Owner().count() == 2
    assert Owner.count.__name__ == "count"


def test_yaml_is_itself_again_outside():
    before = yaml.full_load
    with safe_task_files():
        assert yaml.full_load is load_task_file
    assert yaml.full_load is before


def test_yaml_without_a_file():
    assert load_task_file(io.StringIO("a: 1")) == load_task_file("a: 1") == load_task_file(b"a: 1") == {"a": 1}


def test_task_files_are_read_by_the_safe_loader(tmp_path, monkeypatch):
    """Of all tags only lmms-eval's own, with the meaning that it has at that moment."""
    file = tmp_path / "task.yaml"
    file.write_text("task: one\nscore: !function here.score\n")
    monkeypatch.setattr(yaml.FullLoader, "yaml_constructors", dict(yaml.FullLoader.yaml_constructors))
    for meaning in ("first", "second"):
        yaml.FullLoader.add_constructor("!function", lambda loader, node, m=meaning: (m, loader.name, node.value))
        with file.open("rb") as stream:
            assert load_task_file(stream) == {"task": "one", "score": (meaning, str(file), "here.score")}
    with pytest.raises(yaml.constructor.ConstructorError, match="python/tuple"):
        load_task_file("a: !!python/tuple [1, 2]")
