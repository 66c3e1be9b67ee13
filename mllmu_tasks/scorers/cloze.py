"""A blank filled in: right if the gold text stands anywhere in the answer, upper or lower case."""

from mllmu_tasks.scorers.base import Options, Scorer
from mllmu_tasks.scorers.metrics import Metric


def score(answer: str, gold: str, options: Options) -> dict[str, float]:
    return {"mllmu_cloze": float(gold.lower() in answer.lower())}


SCORER = Scorer("cloze", (Metric("mllmu_cloze"),), score)
