"""PaliGemma: the prompt is read in both directions, the answer behind it (`suffix`) from left to right."""

from collections.abc import Sequence

from PIL.Image import Image

from mllmu_tasks.models.batching import Row
from mllmu_tasks.models.encode import AnswerEncoder, encode, said
from mllmu_tasks.models.families.base import Family


class SuffixEncoder(AnswerEncoder):
    """The evaluation's prompt, and behind it what the processor makes of `suffix=answer`: the answer's tokens and the
    end, token type 1, and labels on exactly these."""

    def __call__(self, messages: Sequence[dict], images: Sequence[Image], where: str, learnt: int = 1) -> Row:
        """As of `AnswerEncoder`. The conversation shows an image and learns its last answer only."""
        return encode(self.processor, self.chat(messages[:-1], where), images, suffix=[said(messages)])


FAMILIES = {
    "paligemma": Family("rows", reads_both_ways=True, encoder=SuffixEncoder, projectors=("multi_modal_projector",))
}
