"""Questions and answers that hold what a tokenizer takes for a mark: an image, the end of an answer, a turn.

Such a text asks for an image that is not there, or ends before its end. Evaluation and training refuse it alike.
"""

import re
from collections.abc import Iterable, Sequence
from typing import Any

from mllmu_tasks.errors import UserError


class SpecialText:
    """The marks of one processor. The token for unknown words is none: it says nothing but itself."""

    def __init__(self, processor: Any) -> None:
        tokenizer = processor.tokenizer
        added = [str(token) for token in tokenizer.added_tokens_decoder.values() if token.special]
        image = str(getattr(processor, "image_token", "<image>"))  # a processor of the user's own may not say it
        self._all = _one_of({*added, *map(str, tokenizer.all_special_tokens), image} - {"", str(tokenizer.unk_token)})
        self._image = _one_of([image])

    def refuse(self, text: str, where: str, images_only: bool = False) -> None:
        """Raises UserError if the text holds a mark (images_only: that of an image). where: whose text it is."""
        found = (self._image if images_only else self._all).search(text)
        if found:
            raise UserError(
                f"{where} holds the text {found[0]}, which is a mark to this model's tokenizer and no word; take it "
                "out of the data."
            )


def _one_of(marks: Iterable[str]) -> re.Pattern:
    return re.compile("|".join(map(re.escape, sorted(marks, key=len, reverse=True))))


def refuse_unknown(ids: Sequence[int], processor: Any, model: Any, where: str) -> None:
    """Raise UserError for a token that the model has no embedding of. ids: of a text, without unfolded images.

    The image token may lie beyond the embeddings: features take its place.
    """
    size = model.get_input_embeddings().weight.shape[0]
    image = getattr(model.config, "image_token_id", None)
    unknown = max((token for token in ids if token != image), default=0)
    if unknown >= size:
        tokenizer = processor.tokenizer
        raise UserError(
            f"{where}: the tokenizer writes {tokenizer.convert_ids_to_tokens(unknown)!r} as token {unknown}, and the "
            f"model embeds {size} tokens; take the tokenizer that the model was trained with, or enlarge the model by "
            "resize_token_embeddings."
        )
