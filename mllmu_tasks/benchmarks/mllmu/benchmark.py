"""MLLMU-Bench as a value."""

from mllmu_tasks.benchmarks import mini
from mllmu_tasks.benchmarks.base import Benchmark, Leaf
from mllmu_tasks.benchmarks.mllmu.layout import LAYOUT
from mllmu_tasks.benchmarks.mllmu.official import official_settings
from mllmu_tasks.benchmarks.mllmu.prompts import PROMPTS
from mllmu_tasks.benchmarks.mllmu.questions import leaf_questions
from mllmu_tasks.benchmarks.mllmu.settings import Settings
from mllmu_tasks.benchmarks.mllmu.spec import VOCABULARY, config_of
from mllmu_tasks.benchmarks.mllmu.validate import validate
from mllmu_tasks.benchmarks.questions import LeafQuestions


def ask(benchmark: Benchmark, leaf: Leaf) -> LeafQuestions:
    """With the examples and pictures that the official code draws."""
    return leaf_questions(leaf, Settings.from_environment())


BENCHMARK = Benchmark.of(
    VOCABULARY,
    layout=LAYOUT,
    prompts=PROMPTS,
    ask=ask,
    config=config_of,
    official_settings=official_settings,
    validate=validate,
    generate=mini.write,
    licence=(
        "MLLMU-Bench is downloaded from its authors and stays under their terms; its 500 people are fictitious, its "
        "153 celebrities are real."
    ),
)
