"""What `eval.py` of franciscoliu/MLLMU-Bench does otherwise on Idefics2."""

from dataclasses import replace

from mllmu_tasks.benchmarks.mllmu.settings import Settings
from mllmu_tasks.benchmarks.mllmu.spec import Leaf, Modality, Task
from mllmu_tasks.errors import UserError
from mllmu_tasks.models.prompt import Prompt

IDEFICS2_SHOTS = (1, 1)
IDEFICS2_LETTER_TOKENS = 5


def as_officially(prompt: Prompt, model_type: str, settings: Settings) -> Prompt:
    """A prompt of `prompt_style=official`, with the official limit of new tokens for this kind of model.

    The official code shows Idefics2 one person before cloze questions, not two, and gives its answers to text-only
    classification 5 tokens. Other tasks and models pass unchanged. Raises UserError if other shots are set.
    """
    if model_type != "idefics2":
        return prompt
    try:
        leaf = Leaf.parse(prompt.leaf)
    except ValueError:
        return prompt
    if settings.shots != IDEFICS2_SHOTS:
        given = ",".join(map(str, settings.shots))
        raise UserError(
            f"the official evaluation shows Idefics2 one person before classification and one before cloze questions, "
            f"and MLLMU_SHOTS is {given}; set MLLMU_SHOTS=1,1, or use prompt_style=chat."
        )
    if leaf.task is Task.CLASSIFICATION and leaf.modality is Modality.TEXT:
        return replace(prompt, settings={**prompt.settings, "max_new_tokens": IDEFICS2_LETTER_TOKENS})
    return prompt
