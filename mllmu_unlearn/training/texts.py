"""What can be known of all questions and answers before training: that they hold no marks and only known tokens."""

from collections.abc import Iterator, Mapping, Sequence

from torch import nn
from transformers import ProcessorMixin

from mllmu_tasks.models.special_text import SpecialText, refuse_unknown
from mllmu_unlearn.toolbox.samples import Sample
from mllmu_unlearn.training.samples import Rows

SHOWN = 80
"""Characters of a text that a message quotes."""


def refuse_marks(processor: ProcessorMixin, sides: Mapping[str, Sequence[Sample]]) -> None:
    """Raise UserError for a text with a mark in it: `<image>`, or `</s>`, behind which an answer would be cut."""
    special = SpecialText(processor)
    for text, where in _texts(sides):
        special.refuse(text, where)


def refuse_unknown_tokens(processor: ProcessorMixin, model: nn.Module, rows: Rows) -> None:
    """Raise UserError if a text has a token without embedding, or if a side's first sample cannot be prepared."""
    for side, samples in rows.sides.items():
        if samples:
            ids = rows.row(side, 0)["input_ids"][0].tolist()
            refuse_unknown(ids, processor, model, f"person {samples[0].person}")
    if len(processor.tokenizer) > model.get_input_embeddings().weight.shape[0]:
        for text, where in _texts(rows.sides):
            refuse_unknown(processor.tokenizer(text)["input_ids"], processor, model, where)


def _texts(sides: Mapping[str, Sequence[Sample]]) -> Iterator[tuple[str, str]]:
    """(text, whose it is) of all questions and answers."""
    for sample in (sample for samples in sides.values() for sample in samples):
        for turn in sample.turns:
            yield turn.question, f"person {sample.person}: the question '{turn.question[:SHOWN]}'"
            yield turn.answer, f"person {sample.person}: the answer '{turn.answer[:SHOWN]}'"
