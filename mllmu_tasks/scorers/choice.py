"""The letter of an option: right if it is the gold one. The letter is the answer's first character."""

from mllmu_tasks.scorers.base import Options, Scorer
from mllmu_tasks.scorers.metrics import Metric


def score(answer: str, gold: str, options: Options) -> dict[str, float | str]:
    letter = answer[:1].upper()
    letter = letter if letter in options else ""
    there = bool((options.get(letter) or "").strip())  # the official code reads the letter of a missing option, too
    return {"mllmu_accuracy": float(there and letter == gold), "prediction": letter, "parsed": float(there)}


SCORER = Scorer("choice", (Metric("mllmu_accuracy"),), score)
