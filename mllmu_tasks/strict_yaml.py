"""YAML files of users: safe, and a second key of the same name does not silently replace the first."""

from pathlib import Path
from typing import Any

import yaml

from mllmu_tasks.errors import UserError


class _Loader(yaml.SafeLoader):
    def construct_mapping(self, node, deep=False):
        keys = [self.construct_object(key, deep=True) for key, _ in node.value]
        for key in keys:
            if keys.count(key) > 1:
                raise yaml.constructor.ConstructorError(None, None, f"'{key}' is there twice", node.start_mark)
        return super().construct_mapping(node, deep)


def load(text: str, source: str) -> Any:
    """The content of a YAML text. Raises UserError, which calls it `source`."""
    try:
        return yaml.load(text, Loader=_Loader)
    except (yaml.YAMLError, TypeError, ValueError) as error:
        raise UserError(f"{source} is no valid YAML: {' '.join(str(error).split())}") from error


def read_text(file: Path, source: str) -> str:
    """The text of a user's file. Raises UserError if it cannot be read or is not UTF-8."""
    try:
        return file.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise UserError(f"{source} is no text in UTF-8 (byte {error.start}); save it as UTF-8.") from error
    except OSError as error:
        raise UserError(f"{source} cannot be read: {error.strerror}.") from error
