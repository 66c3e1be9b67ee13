"""Requests of lmms-eval -> prompts.

A prompt keeps no image: the few-shot images of a whole benchmark would fill the memory. They are asked for again
when its batch is due (the image store of the tasks keeps the recent ones).
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from PIL import Image

from mllmu_tasks.answers import letter_is_settled
from mllmu_tasks.artifacts.identity import ImageHashes
from mllmu_tasks.errors import UserError
from mllmu_tasks.models.chat_template import ChatTemplate
from mllmu_tasks.models.engine.generation import generation_settings, stop_texts
from mllmu_tasks.models.prompt import Prompt, Reading
from mllmu_tasks.models.special_text import SpecialText

STYLES = ("chat", "official")
PLACEHOLDER = "<image>"
THINKING = ("<think>", "<analysis>")  # lmms-eval removes what stands before their ends


class Renderer:
    """Requests of lmms-eval -> prompts, in one style.

    whole_answers: nothing ends before the model ends it, even where only a letter is read.
    """

    def __init__(
        self, processor: Any, style: str = "chat", system_prompt: str = "", whole_answers: bool = False
    ) -> None:
        self.processor, self.style, self.system_prompt = processor, style, system_prompt
        self.whole_answers = whole_answers
        self.hash_image, self.special = ImageHashes(), SpecialText(processor)
        if style == "chat":
            self.chat = ChatTemplate(processor)

    def render(self, request: Any, task_dict: Mapping) -> tuple[Prompt, list[Image.Image]]:
        """A chat request's prompt, and its images, which are loaded now anyway.

        Raises UserError for media, roles or settings that we cannot do.
        """
        context, doc_to_messages, given, doc_id, task, split = request.args
        doc = task_dict[task][split][doc_id]
        where = describe(task, doc_id, doc)
        messages, given_images = _messages(doc_to_messages(doc), where)
        for part in (part for message in messages for part in message["content"] if self.style == "chat"):
            self.special.refuse(part.get("text", ""), where, images_only=not _ours(doc))
        images = [_rgb(image, where) for image in given_images]
        text = self._official(context, len(images), where) if self.style == "official" else self._chat(messages, where)

        def load() -> list[Image.Image]:
            again = doc_to_messages(task_dict[task][split][doc_id])
            return [_rgb(image, where) for image in _messages(again, where)[1]]

        settings = generation_settings(given, where)
        short = not self.whole_answers and _only_letter(doc, text)
        reading = Reading(stop_texts(given), letter_is_settled if short else None)
        hashes, sizes = tuple(map(self.hash_image, images)), tuple(image.size for image in images)
        return Prompt(where, task, text, settings, reading, hashes, sizes, load), images

    def _official(self, context: str, images: int, where: str) -> str:
        text = f"{self.system_prompt}\n{context}" if self.system_prompt else context
        return _official_images(text, images, self.processor, where)

    def _chat(self, messages: list[dict], where: str) -> str:
        if self.system_prompt:
            system = {"role": "system", "content": [{"type": "text", "text": self.system_prompt}]}
            messages = [system, *messages]
        return self.chat(messages, where)


def _only_letter(doc: Any, text: str) -> bool:
    """Some of our answers are read by their first character, unless the model was made to think first."""
    return _ours(doc) and doc.get("first_letter") and not text.rstrip().endswith(THINKING)


def _ours(doc: Any) -> bool:
    return isinstance(doc, Mapping) and doc.get("leaf") is not None


def _official_images(text: str, images: int, processor: Any, where: str) -> str:
    if text.count(PLACEHOLDER) != images:
        raise UserError(
            f"{where}: the prompt has {text.count(PLACEHOLDER)} {PLACEHOLDER} placeholders for {images} images; "
            "use prompt_style=chat for this task."
        )
    if images and processor.image_token != PLACEHOLDER:
        raise UserError(
            f"prompt_style=official writes {PLACEHOLDER} where an image goes, and this model's mark is "
            f"{processor.image_token}; use prompt_style=chat."
        )
    return text


def describe(task: str, doc_id: int, doc: Any) -> str:
    """`task, person 009, question 3` for our documents, `task, document 3` for others."""
    if isinstance(doc, Mapping) and doc.get("person") is not None and "question_index" in doc:
        return f"{task}, person {doc['person']}, question {doc['question_index']}"
    return f"{task}, document {doc_id}"


def _messages(given: Sequence[Mapping], where: str) -> tuple[list[dict], list[Any]]:
    """Messages in the form of Transformers' chat templates, and what stands for the images, in order."""
    messages, images = [], []
    for message in given:
        content = []
        for part in message["content"]:
            if part["type"] == "text":
                content.append({"type": "text", "text": part["text"]})
            elif part["type"] == "image":
                content.append({"type": "image"})
                images.append(part["url"])
            else:
                raise UserError(f"{where}: mllmu_hf takes text and images, not {part['type']}; use another --model.")
        messages.append({"role": message["role"], "content": content})
    return messages, images


def _rgb(image: Any, where: str) -> Image.Image:
    if isinstance(image, str | Path):
        try:
            return Image.open(image).convert("RGB")
        except OSError as error:
            raise UserError(f"{where}: image '{image}' cannot be read ({error}).") from error
    if not isinstance(image, Image.Image):
        raise UserError(f"{where}: an image is a {type(image).__name__}; mllmu_hf takes PIL images and paths.")
    return image if image.mode == "RGB" else image.convert("RGB")
