"""Conversations -> text by the model's chat template, which takes a millisecond each: the questions of a leaf, which
differ only in their last words, are filled into one rendering.
"""

from collections.abc import Sequence
from typing import Any

from jinja2 import TemplateError

from mllmu_tasks.errors import UserError
from mllmu_tasks.models.shown_parts import ShownParts

HOLE = "\x1f question \x1f"


class ChatTemplate:
    """processor: with a chat template."""

    def __init__(self, processor: Any) -> None:
        self.processor = processor
        self._forms: dict[str, tuple[str, str] | None] = {}
        self._shown = ShownParts(processor)

    def __call__(self, messages: Sequence[dict], where: str) -> str:
        """The prompt, up to where the answer begins.

        Raises UserError, naming `where`, for turns that the template does not take, or does not show.
        """
        self._shown.require(messages, where)
        last = messages[-1]["content"][-1]
        text = last.get("text")
        if text is None or text != text.strip() or "<" in text or not text:
            return self._whole(messages, where)  # a template may look for marks, or strip
        hollow = [*messages[:-1], {**messages[-1], "content": [*messages[-1]["content"][:-1], {**last, "text": HOLE}]}]
        form = repr(hollow)
        if form not in self._forms:
            whole = self._whole(messages, where)
            before, hole, after = self._whole(hollow, where).partition(HOLE)
            self._forms[form] = (before, after) if hole and before + text + after == whole else None
        filled = self._forms[form]
        return self._whole(messages, where) if filled is None else filled[0] + text + filled[1]

    def _whole(self, messages: Sequence[dict], where: str) -> str:
        try:
            rendered = self.processor.apply_chat_template(messages, add_generation_prompt=True, tokenize=False)
        except (TemplateError, TypeError, KeyError, ValueError) as error:
            roles = ", ".join(message["role"] for message in messages)
            reason = " ".join(str(error).split())[:160]
            raise UserError(
                f"{where}: the model's chat template does not take these turns ({roles}): {reason}"
            ) from error
        require_shown(messages[-1]["content"][-1].get("text") or "", rendered, where)
        return rendered


def require_shown(question: str, rendered: str, where: str) -> None:
    """Raise UserError unless the rendering holds the question, whatever a template does to white space and capitals."""
    asked, shown = ("".join(text.split()).casefold() for text in (question, rendered))
    if asked not in shown:
        raise UserError(
            f"{where}: the model's chat template does not show the question, so the model would not be asked; take the "
            "template of the published model."
        )
