import pytest

from mllmu_tasks.benchmarks.mllmu.golds import unscorable
from mllmu_tasks.benchmarks.mllmu.spec import Task


@pytest.mark.parametrize(
    ("task", "gold", "why"),
    [
        (Task.CLASSIFICATION, "B", None),
        (Task.CLOZE, "Oslo", None),
        (Task.CLOZE, "Осло", None),
        (Task.CLOZE, "...", "the gold answer holds no letter or digit"),
        (Task.GENERATION, "She was born in 1990.", None),
        (Task.GENERATION, "Она родилась в 1990 году.", "ROUGE cannot read the gold answer"),
        (Task.GENERATION, "?!", "ROUGE cannot read the gold answer"),
    ],
)
def test_a_gold_that_no_answer_can_meet_is_told(task, gold, why):
    assert unscorable(task, gold) == why
