"""Factuality: a language model compares the answer with the truth. `mllmu judge` asks it for logged ones."""

from mllmu_tasks.scorers.base import Needs, Scorer
from mllmu_tasks.scorers.metrics import Metric

SCORER = Scorer("factuality", (Metric("mllmu_factuality", low=1, high=10),), needs=Needs.LOGGED, rescores="rouge")
