"""What the numbers of a scorer mean, as the results files say it."""

METRICS = {
    "classification": ("mllmu_accuracy",),
    "cloze": ("mllmu_cloze",),
    "generation": ("mllmu_rougeL", "mllmu_rouge1", "mllmu_rouge2", "mllmu_bleu"),
}
"""Scorer -> its metrics, the one that is the task's `score` first."""
MEANING = {"better_on_forget": "low", "better_on_retain": "high", "low": 0, "high": 1, "cluster": "person"}


def metric_facts(scorer: str) -> dict[str, dict]:
    """Metric -> the better direction on forget and on retain splits, its bounds, and what its errors cluster by."""
    return {metric: dict(MEANING) for metric in METRICS[scorer]}
