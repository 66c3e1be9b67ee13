"""What a benchmark is: a value that says what is asked, under which names, and how stored rows become questions."""

import dataclasses
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from mllmu_tasks.benchmarks import questions
from mllmu_tasks.benchmarks.prompts import Prompts
from mllmu_tasks.benchmarks.questions import LeafQuestions
from mllmu_tasks.benchmarks.vocabulary import Leaf, Role, SplitSpec, TaskSpec, Vocabulary
from mllmu_tasks.data.layout import Layout
from mllmu_tasks.data.people import Modality
from mllmu_tasks.data.source import Source, open_source

__all__ = ["Benchmark", Layout, "Leaf", "Modality", "Prompts", "Role", "SplitSpec", "TaskSpec", "Vocabulary"]


def plain_config(leaf: Leaf) -> str:
    """The config that a leaf asks about where nothing else is said: `<split>` or `<split>_<ratio>`."""
    return str(leaf.split) if leaf.ratio is None else f"{leaf.split}_{leaf.ratio}"


def ask_everyone(benchmark: "Benchmark", leaf: Leaf) -> LeafQuestions:
    """Every question of everyone in the leaf's config, without examples."""
    return questions.ask_everyone(benchmark.source(), leaf, benchmark.config(leaf), benchmark.task(leaf.task))


def no_official_settings(leaf: Leaf, architecture: str) -> dict[str, Any]:
    return {}


@dataclass(frozen=True, kw_only=True)
class Benchmark(Vocabulary):
    """A vocabulary, and what stands behind it.

    layout: where the data come from and how a stored row is read. ask: what a leaf asks. config: leaf -> the config it
    asks about. official_settings: (leaf, model type of Transformers) -> generation settings of `prompt_style=official`
    that differ. licence: under which terms the data are, in a sentence.
    Tools behind commands, None where there are none: validate (source, progress) -> report; generate
    (folder, people=, seed=, celebrities=); request: the module that makes data of named people.
    """

    layout: Layout
    licence: str
    prompts: Prompts = field(default_factory=Prompts)
    ask: Callable[["Benchmark", Leaf], LeafQuestions] = ask_everyone
    config: Callable[[Leaf], str] = plain_config
    official_settings: Callable[[Leaf, str], Mapping[str, Any]] = no_official_settings
    validate: Callable | None = None
    generate: Callable | None = None
    request: Any = None

    @classmethod
    def of(cls, vocabulary: Vocabulary, **more: Any) -> "Benchmark":
        """A benchmark with the names of a vocabulary."""
        return cls(**{f.name: getattr(vocabulary, f.name) for f in dataclasses.fields(vocabulary)}, **more)

    def source(self, spec: str = "") -> Source:
        """The data of this name, default: those of the environment. Raises UserError if there are none."""
        return open_source(spec or self.layout.chosen(), self.layout)

    def questions(self, leaf: Leaf) -> LeafQuestions:
        """What the leaf asks, under the settings of the environment. Raises UserError."""
        return self.ask(self, leaf)
