"""Samples -> processor tensors with labels, as the model's family or the official code has them."""

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING

from PIL.Image import Image
from transformers import PreTrainedModel, ProcessorMixin

from mllmu_tasks.errors import UserError
from mllmu_tasks.models.batching import Row
from mllmu_tasks.models.chat_template import ChatTemplate
from mllmu_tasks.models.encode import AnswerEncoder, encode, stop_tokens
from mllmu_tasks.models.families import Family, family_of
from mllmu_unlearn.training.samples import Sample

if TYPE_CHECKING:
    from mllmu_unlearn.config.commands import FinetuneConfig, UnlearnConfig


def encoder_for(
    model: PreTrainedModel, processor: ProcessorMixin, official: bool = False
) -> Callable[[Sample, Sequence[Image]], Row]:
    """(sample, images) -> processor tensors (1, ...) and labels (1, T). Raises UserError, and so does what it returns,
    for whatever keeps the question or the answer from the model."""
    family = family_of(model.config.model_type)
    if official:
        return OfficialEncoder(processor, family.official_text)
    return SampleEncoder(family.encoder(processor, stop_tokens(processor, model.generation_config)))


class SampleEncoder:
    """Labels on what the sample learns."""

    def __init__(self, encode: AnswerEncoder) -> None:
        self.encode = encode

    def __call__(self, sample: Sample, images: Sequence[Image]) -> Row:
        return self.encode(as_messages(sample), images, f"person {sample.person}", sample.learnt)


class OfficialEncoder:
    """What the benchmark's own code trains on: every token has a label (prompt and image too), no EOS.

    LLaVA (raw): the text `USER: <image>\\n{question}\\nASSISTANT: {answer}`; others: their chat template.
    The official code has no text-only rows; ours are `USER:\\n{question}\\nASSISTANT: {answer}`.
    """

    def __init__(self, processor: ProcessorMixin, raw: bool) -> None:
        self.processor = processor
        self.chat = None if raw else ChatTemplate(processor)

    def __call__(self, sample: Sample, images: Sequence[Image]) -> Row:
        row = encode(self.processor, self._text(sample, bool(images)), images)
        return {**row, "labels": row["input_ids"].clone()}

    def _text(self, sample: Sample, image: bool) -> str:
        if self.chat is None:
            mark = f" {self.processor.image_token}" if image else ""
            return f"USER:{mark}\n{sample.question}\nASSISTANT: {sample.answer}"
        messages, where = as_messages(sample), f"person {sample.person}"
        self.chat(messages[:-1], where)  # refuses a template that keeps something back
        return self.chat.answered(messages, where).strip()


def as_messages(sample: Sample) -> list[dict]:
    """The sample's turns in the form of Transformers' chat templates."""
    messages = []
    for turn in sample.turns:
        image = [{"type": "image"}] if turn.image is not None else []
        messages += [
            {"role": "user", "content": [*image, {"type": "text", "text": turn.question}]},
            {"role": "assistant", "content": [{"type": "text", "text": turn.answer}]},
        ]
    return messages


def refuse_untrainable(
    family: Family, config: "UnlearnConfig | FinetuneConfig", sides: Mapping[str, Sequence[Sample]]
) -> None:
    """Raise UserError for what a family that reads its prompt in both directions cannot be trained on."""
    if not family.reads_both_ways:
        return
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
