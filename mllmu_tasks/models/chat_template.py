"""Conversations -> text by the model's chat template, which takes a millisecond each: the questions of a leaf, which
differ only in their last words, are filled into one rendering.
"""

from collections.abc import Iterator, Sequence
from typing import Any

from jinja2 import TemplateError

from mllmu_tasks.errors import UserError

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
        return _rendered(self.processor, messages, where)


class ShownParts:
    """Whether the template shows every image and every text of a conversation, asked once for those of one build.

    A model that is not shown the question cannot answer it, and on a forget set that looks like perfect unlearning.
    """

    def __init__(self, processor: Any) -> None:
        self.processor = processor
        self._complete: set[tuple] = set()

    def require(self, messages: Sequence[dict], where: str) -> None:
        """Raise UserError, naming `where`, if the prompt is the same without an image or with other words in a turn."""
        build = tuple((m["role"], tuple(part["type"] for part in m["content"])) for m in messages)
        if build in self._complete:
            return
        whole = _rendered(self.processor, messages, where)
        for turn, what, changed in _changed(messages):
            try:
                same = _rendered(self.processor, changed, where) == whole
            except UserError:
                continue  # it does look at what was changed
            if same:
                role = messages[turn]["role"]
                raise UserError(
                    f"{where}: the model's chat template never shows the {what} of turn {turn + 1} ({role}); put the "
                    "chat template of the published model in its place."
                )
        self._complete.add(build)


def _rendered(processor: Any, messages: Sequence[dict], where: str) -> str:
    try:
        return processor.apply_chat_template(messages, add_generation_prompt=True, tokenize=False)
    except (TemplateError, TypeError, KeyError, ValueError) as error:
        roles = ", ".join(message["role"] for message in messages)
        reason = " ".join(str(error).split())[:160]
        raise UserError(f"{where}: the model's chat template does not take these turns ({roles}): {reason}") from error


def _changed(messages: Sequence[dict]) -> Iterator[tuple[int, str, list[dict]]]:
    """(turn, what is changed there, the conversation) for every part: a text with other words, without an image."""
    for turn, message in enumerate(messages):
        content = message["content"]
        for place, part in enumerate(content):
            text = part["type"] == "text"
            if text and not part["text"].strip():
                continue
            other = [{**part, "text": f"{HOLE}{part['text']}{HOLE}"}] if text else []
            changed = {**message, "content": [*content[:place], *other, *content[place + 1 :]]}
            yield turn, "text" if text else "image", [*messages[:turn], changed, *messages[turn + 1 :]]
