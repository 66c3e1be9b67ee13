"""A model card in which no text from outside is more than text."""

import ast
import re

import markdown_it
import pytest

from mllmu_unlearn.output import card

EVIL = 'x` | <img src=http://t.test/x.png> ![i](http://t.test/y.png)\n\n# head\x1b[31m\u202e") ; import os #'

UNQUOTED = EVIL.replace('"', "").replace("[31m", "")
"""As a folder may be called: quotes are refused before a card is written."""


@pytest.fixture
def written(tmp_path):
    """The card of a record in which every text is hostile."""
    record = {
        "about": {"title": EVIL, "formula": f"a || b {EVIL}", "paper": EVIL},
        "method": EVIL,
        "protocol": EVIL,
        "kind": "lora",
        "system_prompt": None,
        "base_model": {"name_or_path": UNQUOTED, "revision": UNQUOTED, "fingerprint": EVIL},
        "forget": {"ids": [EVIL, "002"], "ratio": 5},
        "retain": {"people": 3},
        "data": {"source": EVIL, "hash": EVIL, "pairs": {"forget": 2}},
        "hyper_parameters": {"beta": EVIL},
        "modalities": ["image"],
        "seed": 0,
        "versions": {"mllmu": EVIL},
        "training": {"seconds": 1, "device": EVIL},
    }
    card.write(tmp_path, record, name=UNQUOTED)
    return (tmp_path / card.CARD).read_text(encoding="utf-8")


def test_hostile_texts_stay_texts(written):
    body = written.split("\n---\n", 1)[1]
    html = markdown_it.MarkdownIt("commonmark", {"html": True}).enable("table").render(body)
    assert not re.search(r"<img|<a |http://t.test/y.png\"", html)
    assert html.count("<h1>") == 1
    table = html.split("<tbody>")[1].split("</tbody>")[0]
    assert (table.count("<tr>"), table.count("<td>")) == (14, 28)
    assert not set("\x1b\u202e") & set(written)


def test_the_code_to_copy_is_one_program_of_the_same_steps(written):
    (block,) = re.findall(r"```python\n(.*?)\n```", written, flags=re.DOTALL)
    names = [node.names[0].name for node in ast.walk(ast.parse(block)) if isinstance(node, ast.Import | ast.ImportFrom)]
    assert names == ["PeftModel", "AutoModelForImageTextToText"]
