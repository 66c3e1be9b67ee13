"""A chat template that keeps something back is refused, by evaluation and training alike."""

import pytest
from asking import document, to_messages
from transformers import AutoProcessor

from mllmu_tasks.errors import UserError
from mllmu_tasks.harness.rendering import _messages
from mllmu_tasks.models.chat_template import ChatTemplate

BLIND = "{% for m in messages %}{% for c in m['content'] %}{% if c.type == 'text' %}{{ c.text }}{% endif %}{% endfor %}"
TYPES = "{% for m in messages %}{% for c in m['content'] %}{{ c.type }}{% endfor %}{% endfor %}"
LAST = "{% for c in messages[-1]['content'] %}{% if c.type == 'text' %}{{ c.text }}{% else %}<image>{% endif %}"


@pytest.mark.parametrize(
    ("template", "said"),
    [
        ("Hello!", r"never shows the image of turn 1 \(user\)"),
        ("{{ messages | length }} turns<image>", r"never shows the image"),
        (
            TYPES,
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
