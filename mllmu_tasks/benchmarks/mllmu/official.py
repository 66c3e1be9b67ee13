"""What `eval.py` of franciscoliu/MLLMU-Bench does otherwise on Idefics2."""

from mllmu_tasks.benchmarks.mllmu.settings import Settings
from mllmu_tasks.benchmarks.mllmu.spec import Task
from mllmu_tasks.benchmarks.vocabulary import Leaf
from mllmu_tasks.data.people import Modality
from mllmu_tasks.errors import UserError

IDEFICS2_SHOTS = (1, 1)
IDEFICS2_LETTER_TOKENS = 5


def official_settings(leaf: Leaf, architecture: str) -> dict[str, int]:
    """Generation settings of `prompt_style=official` that differ for a kind of model.

    The official code shows Idefics2 one person before cloze questions, not two, and gives its answers to text-only
    classification 5 tokens. Other tasks and models have none. Raises UserError if other shots are set.
    """
    if architecture != "idefics2":
        return {}
    shots = Settings.from_environment().shots
    if shots != IDEFICS2_SHOTS:
        given = ",".join(map(str, shots))
        raise UserError(
            f"the official evaluation shows Idefics2 one person before classification and one before cloze questions, "
            f"and MLLMU_SHOTS is {given}; set MLLMU_SHOTS=1,1, or use prompt_style=chat."
        )
    short = leaf.task == Task.CLASSIFICATION and leaf.modality is Modality.TEXT
    return {"max_new_tokens": IDEFICS2_LETTER_TOKENS} if short else {}
