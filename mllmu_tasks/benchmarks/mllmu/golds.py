"""Which gold answers the official metrics cannot compare with anything, the gold itself included."""

import re

from mllmu_tasks.benchmarks.mllmu.spec import Task

UNSCORABLE = {
    Task.GENERATION: "ROUGE cannot read the gold answer",
    Task.CLOZE: "the gold answer holds no letter or digit",
}
"""Why no answer can be right, the gold answer itself included."""
SEEN_BY_ROUGE = re.compile("[a-z0-9]")


def unscorable(task: str, gold: str) -> str | None:
    """Why the task's metric says nothing about answers to this gold (not empty), or None: one of UNSCORABLE.

    rouge_score drops all but a-z and 0-9. A gold of which it sees less than half of the letters and digits is compared
    by its rest: of a sentence in Cyrillic, by the year in it.
    """
    letters = sum(map(str.isalnum, gold))
    if task == Task.GENERATION:
        seen = len(SEEN_BY_ROUGE.findall(gold.lower()))
        return UNSCORABLE[task] if not seen or 2 * seen < letters else None
    return UNSCORABLE[task] if task == Task.CLOZE and not letters else None
