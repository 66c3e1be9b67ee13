"""PaliGemma: the prompt is read in both directions, the answer behind it (`suffix`) from left to right."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from PIL.Image import Image
from transformers import ProcessorMixin

from mllmu_tasks.errors import UserError
from mllmu_tasks.models.chat_template import require_shown
from mllmu_tasks.models.engine.batching import Row
from mllmu_tasks.models.rendering import tokenizer_adds
from mllmu_tasks.models.shown_parts import ShownParts
from mllmu_unlearn.toolbox.samples import Sample
from mllmu_unlearn.training.collator import as_messages, require_template

if TYPE_CHECKING:
    from mllmu_unlearn.config.commands import FinetuneConfig, UnlearnConfig

MODEL_TYPE = "paligemma"


class SuffixEncoder:
    """The evaluation's prompt, and behind it what the processor makes of `suffix=answer`: the answer's tokens and the
    end, token type 1, and labels on exactly these."""

    whole_sequence = False

    def __init__(self, processor: ProcessorMixin) -> None:
        require_template(processor)
        self.processor, self.shown = processor, ShownParts(processor)

    def __call__(self, sample: Sample, images: Sequence[Image]) -> Row:
        """Processor tensors (1, ...) and labels (1, T). The sample shows an image and learns its last answer only."""
        self.shown.require(as_messages(sample)[:-1], f"person {sample.person}")
        prompt = self.processor.apply_chat_template(as_messages(sample)[:-1], add_generation_prompt=True)
        require_shown(sample.question, prompt, f"person {sample.person}")
        made = self.processor(
            text=[prompt],
            images=[list(images)],
            suffix=[sample.answer],
            add_special_tokens=tokenizer_adds(self.processor.tokenizer, prompt),
            return_tensors="pt",
        )
        return dict(made)


def check(config: "UnlearnConfig | FinetuneConfig", sides: Mapping[str, Sequence[Sample]]) -> None:
    """Raise UserError for what PaliGemma cannot be trained on."""
    if config.protocol == "official":
        raise UserError("the official code knows no PaliGemma; leave out --protocol official.")
    samples = [sample for of in sides.values() for sample in of]
    if any(sample.modality == "text" for sample in samples):
        if config.modality_set == ("image",):
            raise UserError(
                f"method '{config.method}' also trains on text alone, and PaliGemma takes no text without an image; "
                "choose another --method."
            )
        raise UserError("PaliGemma takes no text without an image; use --modalities image.")
    if any(sample.learnt > 1 for sample in samples):
        raise UserError(
            "PaliGemma reads what stands before an answer in both directions, so it learns only the last answer of a "
            "conversation; use --benchmark_shots 0."
        )
