"""An answer -> a flat dict of floats and facts, by the rules and with the libraries of the official code.

Thread-safe: lmms-eval scores in a pool of threads.
"""

import functools
import re
import threading
from collections.abc import Sequence

from mllmu_tasks.benchmarks.mllmu.spec import Task

SCORING = 1
"""Goes up when an answer would get another score than before, and only then: a gate compares runs by it."""
TAG = "ASSISTANT:"
UNSCORABLE = {
    Task.GENERATION: "ROUGE cannot read the gold answer",
    Task.CLOZE: "the gold answer holds no letter or digit",
}
"""Why no answer can be right, the gold answer itself included."""
SEEN_BY_ROUGE = re.compile("[a-z0-9]")
_local = threading.local()


def clean(raw: str) -> str:
    """The answer the official code would read: up to the next `ASSISTANT:` tag, stripped."""
    return raw.split(TAG)[0].strip()


def letter_is_settled(raw: str, until: Sequence[str] = ()) -> bool:
    """Whether no continuation of an answer changes the letter that is read from it: its first character.

    Not settled: white space only; what may be the beginning of a stop text (`A` of `ASSISTANT:`) or of a reasoning
    block, which lmms-eval removes before scoring; a character whose bytes are not all there.
    """
    answer = raw.lstrip()
    if not answer or answer[0] in "<\ufffd":
        return False
    first = len(raw) - len(answer)
    return not any(stop.startswith(raw[place:]) for stop in (TAG, *until) for place in range(first + 1))


def unscorable(task: Task, gold: str) -> str | None:
    """Why the task's metric says nothing about answers to this gold (not empty), or None: one of UNSCORABLE.

    rouge_score drops all but a-z and 0-9. A gold of which it sees less than half of the letters and digits is compared
    by its rest: of a sentence in Cyrillic, by the year in it.
    """
    letters = sum(map(str.isalnum, gold))
    if task == Task.GENERATION:
        seen = len(SEEN_BY_ROUGE.findall(gold.lower()))
        return UNSCORABLE[task] if not seen or 2 * seen < letters else None
    return UNSCORABLE[task] if task == Task.CLOZE and not letters else None


def score_answer(task: Task, raw: str, gold: str, options: dict[str, str | None]) -> dict[str, float | str]:
    """Scores of one answer: `score` first, then the task's metrics, then prediction, answered and parsed.

    raw: the model's text. gold: letter or text, never empty. options: letter -> text, {} if none.
    """
    answer = clean(raw)
    answered = float(bool(answer))
    if task == Task.CLASSIFICATION:
        letter = answer[:1].upper()
        letter = letter if letter in options else ""
        there = bool((options.get(letter) or "").strip())  # the official code reads the letter of a missing option, too
        metrics, prediction, parsed = {"mllmu_accuracy": float(there and letter == gold)}, letter, float(there)
    elif task == Task.CLOZE:
        right = float(gold.lower() in answer.lower())
        metrics, prediction, parsed = {"mllmu_cloze": right}, answer, answered
    else:
        metrics = {**rouge(gold, answer), "mllmu_bleu": bleu(gold, answer)}
        prediction, parsed = answer, answered
    score = next(iter(metrics.values()))
    return {
        "score": score,
        **metrics,
        "mllmu_answered": answered,
        "prediction": prediction,
        "answered": answered,
        "parsed": parsed,
    }


def rouge(gold: str, answer: str) -> dict[str, float]:
    """ROUGE-L, 1 and 2 F1 with stemming (rouge_score), ROUGE-L first since it is the task's score."""
    if not hasattr(_local, "rouge"):
        _local.rouge = _rouge_scorer()
    scores = _local.rouge.score(gold, answer)
    return {f"mllmu_{name}": float(scores[name].fmeasure) for name in ("rougeL", "rouge1", "rouge2")}


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
