"""How a benchmark stores its data: which setting names them, which columns they have, who reads a row."""

import functools
import os
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from mllmu_tasks.data.files import files_in, hub_files
from mllmu_tasks.data.people import Person, TrainingRow
from mllmu_tasks.errors import UserError

HUB_ID = re.compile(r"[A-Za-z0-9][\w-]*/[\w][\w.-]*")

Parse = Callable[[str, int, Mapping], tuple[Person, list[tuple[str, str]]]]
"""(config, position, stored row) -> the person, and the oddities (where, problem) that belong to no question."""
ParseTraining = Callable[[str, str, int, Mapping, Callable[[str], str]], TrainingRow]
"""(data name, config, position, stored row, whose image it shows) -> its training pairs."""


@dataclass(frozen=True)
class TrainingLayout:
    """column: what marks a config of training pairs. everyone: the config whose images say whose a row is.

    remedy: what to train on instead of a config without the column, as the end of a sentence.
    """

    column: str
    everyone: str
    parse: ParseTraining
    remedy: str
    optional: tuple[str, ...] = ()


@dataclass(frozen=True)
class Layout:
    """A data set in folders `<config>/*.parquet`.

    variable: the environment variable that names the data. default: their name without it. configs: all with
    questions; together they name the data. needed, optional: the columns that `parse` is given. images: columns of
    encoded images, one or a list a row, the first that is there counts. embedded: (name, its folder) of data that are
    shipped.
    """

    variable: str
    default: str
    configs: tuple[str, ...]
    parse: Parse
    needed: tuple[str, ...]
    optional: tuple[str, ...] = ()
    images: tuple[str, ...] = ("images", "image")
    embedded: tuple[tuple[str, Callable[[], Path]], ...] = ()
    training: TrainingLayout | None = None

    @property
    def columns(self) -> frozenset[str]:
        """All that are read."""
        more = (self.training.column, *self.training.optional) if self.training else ()
        return frozenset({*self.needed, *self.optional, *self.images, *more})

    @property
    def remedy(self) -> str:
        """Where data may lie, as the end of a sentence."""
        names = "".join(f", or to '{name}'" for name, _ in self.embedded)
        return f"set {self.variable} to a folder that holds <config>/*.parquet{names}"

    def chosen(self, environ: Mapping[str, str] = os.environ) -> str:
        """The name of the data in the environment."""
        return environ.get(self.variable, "").strip() or self.default

    def locate(self, spec: str) -> tuple[Callable[[str], list[Path]], bool]:
        """(config -> its parquet files in row order, [] for none; whether their folder's name is the version of all).

        Raises UserError if the spec is no name of embedded data, no folder here and no hub id.
        """
        for name, folder in self.embedded:
            if spec == name:
                return functools.partial(files_in, folder()), False
        if Path(spec).is_dir():
            return functools.partial(files_in, Path(spec)), False
        if HUB_ID.fullmatch(spec):
            return functools.partial(hub_files, spec, self.remedy + self._example()), True
        raise UserError(f"data '{spec}' is neither a folder here nor a hub id; {self.remedy}.")

    def _example(self) -> str:
        return "".join(f", as in {self.variable}={name}" for name, _ in self.embedded[:1])
