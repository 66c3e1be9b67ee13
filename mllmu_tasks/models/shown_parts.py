"""Chat templates that keep something back: the question, an image, an example, the system turn.

A model that is not shown the question cannot answer it, and on a forget set that looks like perfect unlearning.
"""

from collections.abc import Iterator, Sequence
from typing import Any

from mllmu_tasks.errors import UserError

OTHER = "\x1f other words \x1f"


class ShownParts:
    """Whether a processor's chat template shows every part of a conversation; asked once for those of one build."""

    def __init__(self, processor: Any) -> None:
        self.processor = processor
        self._complete: set[tuple] = set()

    def require(self, messages: Sequence[dict], where: str) -> None:
        """Raise UserError, naming `where`, if the prompt is the same without an image or with other words in a turn.

        A conversation that the template does not take passes: whoever renders it next says why.
        """
        build = tuple((m["role"], tuple(part["type"] for part in m["content"])) for m in messages)
        if build in self._complete:
            return
        whole = self._rendered(messages)
        for turn, what, changed in _changed(messages):
            if whole is not None and self._rendered(changed) == whole:
                role = messages[turn]["role"]
                raise UserError(
                    f"{where}: the model's chat template never shows the {what} of turn {turn + 1} ({role}); put the "
                    "chat template of the published model in its place."
                )
        self._complete.add(build)

    def _rendered(self, messages: Sequence[dict]) -> str | None:
        """None for what the template does not take; then it does look at what is in there."""
        try:
            return self.processor.apply_chat_template(messages, add_generation_prompt=True, tokenize=False)
        except Exception:  # a template is code of others, and raises what it likes
            return None


def _changed(messages: Sequence[dict]) -> Iterator[tuple[int, str, list[dict]]]:
    """(turn, what is changed there, the conversation) for every part: a text with other words, without an image."""
    for turn, message in enumerate(messages):
        content = message["content"]
        for place, part in enumerate(content):
            text = part["type"] == "text"
            if text and not part["text"].strip():
                continue
            other = [{**part, "text": f"{OTHER}{part['text']}{OTHER}"}] if text else []
            changed = {**message, "content": [*content[:place], *other, *content[place + 1 :]]}
            yield turn, "text" if text else "image", [*messages[:turn], changed, *messages[turn + 1 :]]
