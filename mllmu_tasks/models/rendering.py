"""Requests of lmms-eval -> prompts (text and images) -> processor tensors."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from PIL import Image

from mllmu_tasks.errors import UserError
from mllmu_tasks.models.batching import Row

STYLES = ("chat", "official")
# Of lmms-eval or of other backends; they do not reach `generate`.
NOT_OURS = ("until", "image_aspect_ratio", "max_gen_toks")
GENERATION = (
    *("max_new_tokens", "do_sample", "temperature", "top_p", "top_k", "num_beams", "repetition_penalty"),
    *("min_new_tokens", "length_penalty", "no_repeat_ngram_size"),
)


@dataclass(frozen=True)
class Prompt:
    """A rendered request. where: who is asked what, for messages to the user."""

    text: str
    images: tuple[Image.Image, ...]
    settings: dict[str, Any]
    until: tuple[str, ...]
    where: str


def render(request: Any, task_dict: dict, style: str, system_prompt: str, processor: Any) -> Prompt:
    """One chat request of lmms-eval. Raises UserError for media or settings that we cannot do."""
    context, doc_to_messages, settings, doc_id, task, split = request.args
    doc = task_dict[task][split][doc_id]
    where = describe(task, doc_id, doc)
    messages, images = _messages(doc_to_messages(doc), where)
    if style == "official":
        text = f"{system_prompt}\n{context}" if system_prompt else context
        if text.count("<image>") != len(images):
            raise UserError(
                f"{where}: the prompt has {text.count('<image>')} <image> placeholders for {len(images)} images; "
                "use prompt_style=chat for this task."
            )
    else:
        if system_prompt:
            messages = [{"role": "system", "content": [{"type": "text", "text": system_prompt}]}, *messages]
        text = processor.apply_chat_template(messages, add_generation_prompt=True, tokenize=False)
    until = settings.get("until") or ()
    stops = (until,) if isinstance(until, str) else tuple(until)
    return Prompt(text, tuple(images), generation_settings(settings, where), stops, where)


def describe(task: str, doc_id: int, doc: Any) -> str:
    """`task, person 009, question 3` for our documents, `task, document 3` for others."""
    if isinstance(doc, dict) and doc.get("person") is not None and "question_index" in doc:
        return f"{task}, person {doc['person']}, question {doc['question_index']}"
    return f"{task}, document {doc_id}"


def _messages(given: Sequence[dict], where: str) -> tuple[list[dict], list[Image.Image]]:
    """Messages in the form of Transformers' chat templates, and the images in order."""
    messages, images = [], []
    for message in given:
        content = []
        for part in message["content"]:
            if part["type"] == "text":
                content.append({"type": "text", "text": part["text"]})
            elif part["type"] == "image":
                content.append({"type": "image"})
                images.append(_rgb(part["url"], where))
            else:
                raise UserError(f"{where}: mllmu_hf takes text and images, not {part['type']}.")
        messages.append({"role": message["role"], "content": content})
    return messages, images


def _rgb(image: Any, where: str) -> Image.Image:
    if isinstance(image, str):
        try:
            return Image.open(image).convert("RGB")
        except OSError as error:
            raise UserError(f"{where}: image '{image}' cannot be read ({error}).") from error
    return image if image.mode == "RGB" else image.convert("RGB")


def generation_settings(given: dict[str, Any], where: str) -> dict[str, Any]:
    """What goes to `generate`. Greedy settings drop the sampling ones. Raises UserError for unknown ones."""
    unknown = set(given) - set(GENERATION) - set(NOT_OURS)
    if unknown:
        raise UserError(f"{where}: mllmu_hf does not know the generation setting {', '.join(sorted(unknown))}.")
    settings = {key: value for key, value in given.items() if key in GENERATION and value is not None}
    settings.setdefault("max_new_tokens", given.get("max_gen_toks") or 128)
    settings.setdefault("do_sample", bool(settings.get("temperature")))
    if not settings["do_sample"]:
        for key in ("temperature", "top_p", "top_k"):
            settings.pop(key, None)
    return settings


def encode(processor: Any, prompt: Prompt) -> Row:
    """Tensors of one prompt, (1, ...). The tokenizer adds its BOS unless the template wrote it."""
    bos = processor.tokenizer.bos_token
    made = processor(
        text=[prompt.text],
        images=[list(prompt.images)] if prompt.images else None,
        add_special_tokens=bos is None or not prompt.text.startswith(bos),
        return_tensors="pt",
    )
    return dict(made)


def cut(text: str, until: Sequence[str]) -> str:
    """The text before the first stop string."""
    ends = [text.index(stop) for stop in until if stop and stop in text]
    return text[: min(ends)] if ends else text
