"""Prompts filled into one rendering are those that the model's template makes of each."""

import pytest
import tiny_models
from asking import document, to_messages
from transformers import AutoProcessor

from mllmu_tasks.errors import UserError
from mllmu_tasks.harness.rendering import _messages
from mllmu_tasks.models import chat_template
from mllmu_tasks.models.chat_template import ChatTemplate
from mllmu_tasks.models.loading import load_processor
from mllmu_unlearn.config.commands import UnlearnConfig, parse
from mllmu_unlearn.training import base_model

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


@pytest.mark.parametrize(
    "template",
    [
        "{% for i in range(99999) %}{% for j in range(99999) %}{% for k in range(99999) %}{% endfor %}{% endfor %}"
        "{% endfor %}",
        "{% for i in range(99999) %}{% for j in range(99999) %}word {% endfor %}{% endfor %}",
        "{% for i in range(10 ** 9) %}{% endfor %}",
        "{{ 9 ** (9 ** (9 ** 9)) }}",
        "{{ 'x' * 10 ** 11 }}",
        "{% generation %}{% for message in messages %}{{ 'y' * 10 ** 7 }}{% endfor %}{% endgeneration %}",
    ],
)
def test_a_template_without_an_end_is_refused_before_it_is_used(folders, monkeypatch, template):
    """By evaluation and by training, when the processor is opened; whatever it does happens in another process."""
    monkeypatch.setattr(chat_template, "CPU_SECONDS", 1)
    folder = folders()
    before = (folder / "chat_template.jinja").read_text()
    try:
        (folder / "chat_template.jinja").write_text(template)
        with pytest.raises(UserError, match=r"the chat template of .* does not end, or writes more than"):
            load_processor(str(folder), None, False)
        given = ["--method", "npo", "--forget_ratio", "5", "--model_name_or_path", str(folder)]
        with pytest.raises(UserError, match=r"the chat template of .* does not end, or writes more than"):
            base_model.load_processor(parse(UnlearnConfig, [*given, "--output_dir", str(folder / "out")]))
    finally:
        (folder / "chat_template.jinja").write_text(before)


def test_a_template_that_is_wrong_otherwise_is_left_to_those_who_render_it(folders):
    processor = AutoProcessor.from_pretrained(folders())
    for template in (
        "{% broken",
        "{{ raise_exception('no') }}",
        "{% macro f(n) %}{{ f(n + 1) }}{% endmacro %}{{ f(1) }}",
    ):
        processor.chat_template = template
        chat_template.refuse_endless(processor, "it")
        with pytest.raises(UserError, match="here: the model's chat template does not take these turns"):
            ChatTemplate(processor)([{"role": "user", "content": [{"type": "text", "text": "Who?"}]}], "here")


@pytest.mark.parametrize("template", ["x", "{{ messages[0]['content'][0]['text'] }}"])
def test_a_template_that_never_shows_the_question_is_refused(folders, template):
    processor = AutoProcessor.from_pretrained(folders())
    processor.chat_template = template
    turn = lambda role, text: {"role": role, "content": [{"type": "text", "text": text}]}
    messages = [turn("user", "Hello"), turn("assistant", "Yes?"), turn("user", "Who lives in Oslo?")]
    for _ in range(2):
        with pytest.raises(UserError, match="person 003: the model's chat template never shows the text of turn"):
            ChatTemplate(processor)(messages, "person 003")
