"""A free answer beside the gold one: ROUGE-L, 1 and 2 (rouge_score) and BLEU (nltk), as in the official code."""

import functools
import threading

from mllmu_tasks.scorers.base import Options, Scorer
from mllmu_tasks.scorers.metrics import Metric

NAMES = ("rougeL", "rouge1", "rouge2")
_local = threading.local()


def score(answer: str, gold: str, options: Options) -> dict[str, float]:
    return {**rouge(gold, answer), "mllmu_bleu": bleu(gold, answer)}


def rouge(gold: str, answer: str) -> dict[str, float]:
    """ROUGE-L, 1 and 2 F1 with stemming (rouge_score), ROUGE-L first since it is the task's score."""
    if not hasattr(_local, "rouge"):
        _local.rouge = _rouge_scorer()
    scores = _local.rouge.score(gold, answer)
    return {f"mllmu_{name}": float(scores[name].fmeasure) for name in NAMES}


def bleu(gold: str, answer: str) -> float:
    """4-gram sentence BLEU on whitespace tokens with smoothing method 1 (nltk); 0 for an empty answer."""
    sentence_bleu, smooth = _bleu_tools()
    return float(sentence_bleu([gold.split()], answer.split(), smoothing_function=smooth))


def _rouge_scorer():
    from rouge_score.rouge_scorer import RougeScorer

    return RougeScorer(["rouge1", "rouge2", "rougeL"], use_stemmer=True)


@functools.cache
def _bleu_tools():
    from nltk.translate.bleu_score import SmoothingFunction, sentence_bleu

    return sentence_bleu, SmoothingFunction().method1


SCORER = Scorer("rouge", (*(Metric(f"mllmu_{name}") for name in NAMES), Metric("mllmu_bleu")), score)
