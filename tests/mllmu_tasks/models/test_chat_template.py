"""Prompts filled into one rendering are those that the model's template makes of each."""

import pytest
import tiny_models
from asking import document, to_messages
from transformers import AutoProcessor

from mllmu_tasks.errors import UserError
from mllmu_tasks.models.chat_template import ChatTemplate
from mllmu_tasks.models.rendering import _messages

TEXTS = [
    "Who is it?",
    "Name?",
    " leading",
    "trailing\n",
    "with <image> in it",
    "two\n\nlines",
    "{{ braces }}",
    "ünï'\"\\",
]


def conversations(template_takes_images):
    for text in TEXTS:
        for images, shots in ((0, 0), (0, 2), (1, 0), (1, 2)):
            if images or not template_takes_images:
                yield _messages(to_messages(document(7, text, images, shots)), "here")[0]


@pytest.mark.parametrize("family", tiny_models.FAMILIES)
def test_filled_prompts_are_whole_prompts(folders, family):
    processor = AutoProcessor.from_pretrained(folders(family))
    chat, rendered = ChatTemplate(processor), []
    render = processor.apply_chat_template
    processor.apply_chat_template = lambda messages, **how: rendered.append(1) or render(messages, **how)
    for _ in range(2):
        for messages in conversations(family in tiny_models.NEED_IMAGES):
            expected = render(messages, add_generation_prompt=True, tokenize=False)
            assert chat(messages, "here") == expected
    assert len(rendered) < 2 * len(list(conversations(family in tiny_models.NEED_IMAGES)))


@pytest.mark.parametrize("wrap", ["{{ text | upper }}", "{{ text | length }} {{ text }}", "{{ text }} {{ text }}"])
def test_a_template_that_does_more_is_asked_every_time(folders, wrap):
    processor = AutoProcessor.from_pretrained(folders())
    processor.chat_template = "{% set text = messages[-1]['content'][-1]['text'] %}" + wrap
    chat = ChatTemplate(processor)
    for text in ("Oslo", "Quito", "Lima"):
        messages = [{"role": "user", "content": [{"type": "text", "text": text}]}]
        expected = processor.apply_chat_template(messages, add_generation_prompt=True, tokenize=False)
        assert chat(messages, "here") == expected


BLIND = "{% for m in messages %}{% for c in m['content'] %}{% if c.type == 'text' %}{{ c.text }}{% endif %}{% endfor %}"
TYPES = "{% for m in messages %}{% for c in m['content'] %}{{ c.type }}{% endfor %}{% endfor %}"
LAST = "{% for c in messages[-1]['content'] %}{% if c.type == 'text' %}{{ c.text }}{% else %}<image>{% endif %}"


@pytest.mark.parametrize(
    ("template", "said"),
    [
        ("Hello!", r"never shows the image of turn 1 \(user\)"),
        ("{{ messages | length }} turns<image>", r"never shows the image"),
        (
            "{% for m in messages %}{% for c in m['content'] %}{{ c.type }}{% endfor %}{% endfor %}",
            "the text of turn 1",
        ),
        (BLIND + "{% endfor %}", r"never shows the image of turn 1 \(user\)"),
        (LAST + "{% endfor %}", r"never shows the image of turn 1 \(user\)"),
    ],
)
def test_a_template_that_keeps_the_question_back_is_refused(folders, template, said):
    processor = AutoProcessor.from_pretrained(folders())
    processor.chat_template = template
    messages = _messages(to_messages(document(7, "Who is it?", 1, 1)), "here")[0]
    with pytest.raises(UserError, match=said):
        ChatTemplate(processor)(messages, "forget, person 007")


def test_a_template_that_keeps_the_system_turn_back_is_refused(folders):
    processor = AutoProcessor.from_pretrained(folders())
    processor.chat_template = (
        BLIND.replace("{% for c", "{% if m.role != 'system' %}{% for c") + "{% endif %}{% endfor %}"
    )
    user = {"role": "user", "content": [{"type": "text", "text": "Who is it?"}]}
    system = {"role": "system", "content": [{"type": "text", "text": "You know nobody."}]}
    assert ChatTemplate(processor)([user], "here") == "Who is it?"
    with pytest.raises(UserError, match=r"never shows the text of turn 1 \(system\)"):
        ChatTemplate(processor)([system, user], "here")
