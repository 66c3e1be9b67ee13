"""YAML files of users: safe and bounded, and a second key of the same name does not silently replace the first."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml
from yaml.constructor import ConstructorError

from mllmu_tasks.errors import UserError, quoted
from mllmu_tasks.user_files import read_text

DEEPEST = 60
MOST_VALUES = 500_000  # with each alias counted as what it stands for
LONGEST_NUMBER = 400  # characters; more than a float can hold
MERGE = "tag:yaml.org,2002:merge"


class _Loader(yaml.CSafeLoader if yaml.__with_libyaml__ else yaml.SafeLoader):
    def construct_mapping(self, node, deep=False):
        seen = set()
        for name, _ in node.value:
            if name.tag == MERGE:  # `<<: *other`
                continue
            key = self.construct_object(name, deep=True)
            if key in seen:
                raise ConstructorError(None, None, f"{quoted(key)} is there twice", node.start_mark)
            seen.add(key)
        return super().construct_mapping(node, deep)

    def construct_number(self, node):
        if len(node.value) > LONGEST_NUMBER:
            raise ConstructorError(None, None, f"a number of {len(node.value):,} digits", node.start_mark)
        kind = node.tag.rpartition(":")[2]
        return self.construct_yaml_int(node) if kind == "int" else self.construct_yaml_float(node)


_Loader.add_constructor("tag:yaml.org,2002:int", _Loader.construct_number)
_Loader.add_constructor("tag:yaml.org,2002:float", _Loader.construct_number)


def load(text: str, source: str) -> Any:
    """The content of a YAML text. Raises UserError, which calls it `source`."""
    try:
        for _ in _bounded(yaml.parse(text, Loader=_Loader)):
            pass
        return yaml.load(text, Loader=_Loader)
    except (yaml.YAMLError, TypeError, ValueError, ArithmeticError, AttributeError, LookupError) as error:
        reason = " ".join(str(error).split()).replace('in "<unicode string>", ', "in ")
        raise UserError(f"{source} is no valid YAML: {reason}") from error


def read(file: Path, source: str) -> Any:
    """The content of a user's YAML file. Raises UserError, which calls it `source`."""
    return load(read_text(file, source), source)


def _bounded(events: Iterator[yaml.Event]) -> Iterator[None]:
    """Passes the events of a text by. Raises YAMLError once it is too deep, or too large with its aliases expanded."""
    sizes: dict[str, int] = {}  # values under an anchor, aliases expanded
    open_nodes: list[tuple[str | None, int]] = []
    total = 0
    for event in events:
        if isinstance(event, yaml.AliasEvent):
            if event.anchor not in sizes:
                raise yaml.YAMLError(f"{quoted(event.anchor)} stands for nothing, or for what it is in")
            total += sizes[event.anchor]
        elif isinstance(event, yaml.NodeEvent):
            total += 1
            if isinstance(event, yaml.CollectionStartEvent):
                open_nodes.append((event.anchor, total - 1))
            elif event.anchor:
                sizes[event.anchor] = 1
        elif isinstance(event, yaml.CollectionEndEvent):
            anchor, before = open_nodes.pop()
            if anchor:
                sizes[anchor] = total - before
        if len(open_nodes) > DEEPEST:
            raise yaml.YAMLError(f"it is nested more than {DEEPEST} levels deep")
        if total > MOST_VALUES:
            raise yaml.YAMLError(f"it holds more than {MOST_VALUES:,} values, aliases expanded")
        yield
