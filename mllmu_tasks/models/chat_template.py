"""Conversations -> text by the model's chat template, which takes a millisecond each: the questions of a leaf, which
differ only in their last words, are filled into one rendering.
"""

import functools
import json
import subprocess
import sys
from collections.abc import Mapping, Sequence
from typing import Any

from jinja2 import TemplateError
from loguru import logger

from mllmu_tasks.errors import UserError, reason_of
from mllmu_tasks.models import template_probe
from mllmu_tasks.models.shown_parts import ShownParts

CPU_SECONDS, SECONDS = 10, 120  # the second by the clock, on a machine that does much else
HOLE = "\x1f question \x1f"


class ChatTemplate:
    """Of a processor. Raises UserError if it has none."""

    def __init__(self, processor: Any) -> None:
        require_template(processor)
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

    def answered(self, messages: Sequence[dict], where: str) -> str:
        """The conversation whose last turn is an answer. Raises UserError for turns that the template does not take."""
        return self._rendered(messages, where, add_generation_prompt=False)

    def _whole(self, messages: Sequence[dict], where: str) -> str:
        rendered = self._rendered(messages, where, add_generation_prompt=True)
        require_shown(messages[-1]["content"][-1].get("text") or "", rendered, where)
        return rendered

    def _rendered(self, messages: Sequence[dict], where: str, *, add_generation_prompt: bool) -> str:
        try:
            return self.processor.apply_chat_template(
                messages, add_generation_prompt=add_generation_prompt, tokenize=False
            )
        except (TemplateError, TypeError, LookupError, ValueError, ArithmeticError, RecursionError) as error:
            roles = ", ".join(message["role"] for message in messages)
            raise UserError(
                f"{where}: the model's chat template does not take these turns ({roles}): {reason_of(error, 160)}"
            ) from error


def require_template(processor: Any) -> None:
    """Raise UserError if the processor has no chat template."""
    if not processor.chat_template:
        raise UserError(
            "the processor has no chat template; add a chat_template.jinja to the model folder, or use "
            "prompt_style=official (in training --protocol official)."
        )


def require_shown(question: str, rendered: str, where: str) -> None:
    """Raise UserError unless the rendering holds the question, whatever a template does to white space and capitals."""
    asked, shown = ("".join(text.split()).casefold() for text in (question, rendered))
    if asked not in shown:
        raise UserError(
            f"{where}: the model's chat template does not show the question, so the model would not be asked; take the "
            "template of the published model."
        )


def refuse_endless(processor: Any, said: str) -> None:
    """Raises UserError for a chat template that takes too long, too much memory or writes too much for one question.

    said: how the message names the model.
    """
    given = processor.chat_template or ""
    names = {name: str(value) for name, value in processor.tokenizer.special_tokens_map.items()}
    for template in given.values() if isinstance(given, Mapping) else (given,):
        if not _ends(str(template), json.dumps(names)):
            raise UserError(
                f"the chat template of {said} does not end, or writes more than {template_probe.CHARACTERS:,} "
                "characters for one question; take that of the published model."
            )


@functools.lru_cache(maxsize=8)
def _ends(template: str, names: str) -> bool:
    """Tried in a process of its own, which can be ended."""
    given = json.dumps({"template": template, "names": json.loads(names), "seconds": CPU_SECONDS})
    # -P: a file of the current folder is no module of ours
    line = [sys.executable, "-P", "-m", template_probe.__name__]
    try:
        done = subprocess.run(line, input=given.encode(), capture_output=True, timeout=SECONDS, check=False)
    except subprocess.TimeoutExpired:
        return False
    except OSError as error:  # where no program may be started
        logger.warning(f"a chat template is used that could not be tried before ({error}).")
        return True
    return done.returncode != template_probe.TOO_MUCH and done.returncode >= 0
