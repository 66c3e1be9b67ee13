"""Results of versions whose samples did not describe themselves: the columns that their task names stand for.

Nothing else in this room knows a name of MLLMU-Bench, and results of newer versions never come here.
"""

import re

from mllmu_tasks.results.columns import FORGET, RETAIN, USUAL_RATIO, Leaf, Metric

BENCHMARK = "mllmu"
ROLES = {"forget": FORGET, "test": FORGET, "retain": RETAIN, "real": RETAIN}
RATIOS = (5, 10, 15)
METRICS = {
    "classification": ("mllmu_accuracy",),
    "generation": ("mllmu_rougeL", "mllmu_rouge1", "mllmu_rouge2", "mllmu_bleu"),
    "cloze": ("mllmu_cloze",),
}
MODALITIES = ("image", "text")
_GROUP = rf"{BENCHMARK}(?:_(?P<split>{'|'.join(ROLES)}))?(?:_(?P<ratio>10|15))?"
_GROUP_NAME = re.compile(_GROUP)
_LEAF_NAME = re.compile(rf"{_GROUP}_(?P<task>{'|'.join(METRICS)})_(?P<modality>{'|'.join(MODALITIES)})")


def leaf_of(name: str) -> Leaf | None:
    """The leaf of a task's name; None if that version had none of this name."""
    match = _LEAF_NAME.fullmatch(name)
    if not match or not match["split"]:
        return None
    split, task, modality = match["split"], match["task"], match["modality"]
    if split == "real" and match["ratio"]:
        return None
    ratio = None if split == "real" else int(match["ratio"] or USUAL_RATIO)
    order = list(ROLES).index(split), RATIOS.index(ratio or USUAL_RATIO), list(METRICS).index(task)
    return Leaf(
        name=name,
        benchmark=BENCHMARK,
        split=split,
        role=ROLES[split],
        ratio=ratio,
        task=task,
        modality=modality,
        metrics=tuple(map(Metric, METRICS[task])),
        modalities=MODALITIES,
        order=((order[0] * len(RATIOS) + order[1]) * len(METRICS) + order[2]) * 2 + MODALITIES.index(modality),
    )


def is_group(name: str) -> bool:
    return _GROUP_NAME.fullmatch(name) is not None


def claims(name: str) -> bool:
    """Whether a task that says nothing of itself looks like one of this package, of whatever version."""
    return name.startswith(BENCHMARK)
