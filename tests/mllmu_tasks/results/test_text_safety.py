"""Hostile texts in every form in which they are shown."""

import csv
import io
import json
import re

import markdown_it
import pytest
from places import ROOT
from typer.testing import CliRunner

from mllmu_tasks.errors import UserError
from mllmu_tasks.text_safety import code, code_block, csv_cell, json_text, markdown, one_line, printable
from mllmu_unlearn.cli.main import app

HOSTILE = "a\x1b[31mb\x1b]8;;http://x\x07c\x00d\x9be\u202ef\u2066g\u200fh\ud800i\ufeffj\U000e0041k\x7fl"


def test_what_must_never_be_shown_is_gone():
    assert printable(HOSTILE) == "a[31mb]8;;http://xcdefghijkl"
    assert printable("a\tb\nc") == "a\tb\nc"
    assert one_line("a\u2028b\x85c\x0bd\r\ne") == "a b c d e"
    assert printable("é ש 👩\u200d🔬 中") == "é ש 👩\u200d🔬 中"  # scripts and joined emoji stay
    assert one_line("x" * 100, 10) == "xxxxxxxxx…"


def test_json_loses_nothing_and_shows_nothing_harmful():
    text = json_text({"a": HOSTILE, "b": "x\u2028y"})
    assert json.loads(text) == {"a": HOSTILE, "b": "x\u2028y"}
    assert text == printable(text)
    text.encode()
    with pytest.raises(ValueError, match="Out of range"):
        json_text(float("nan"))


@pytest.mark.parametrize("begin", ["=1+1", "+1", "-1", "@SUM(A1)", "\t=1", "\r=1", " =1", "\x1b=1", "＝1"])  # noqa: RUF001
def test_a_formula_becomes_a_text(begin):
    assert csv_cell(begin)[0] == "'"


def test_numbers_and_names_stay_in_csv():
    assert [csv_cell(value) for value in (-0.5, None, 3, "npo", "a=b")] == [-0.5, None, 3, "npo", "a=b"]


def rendered(text: str) -> str:
    return markdown_it.MarkdownIt("commonmark", {"html": True}).enable("table").enable("strikethrough").render(text)


@pytest.mark.parametrize(
    "text",
    [
        "[l](http://x)",
        "![i](http://x/y.png)",
        "<img src=x onerror=a>",
        "a **b** _c_ ~~d~~ `e`",
        "a|b",
        "# head",
        "1. one",
        "1) one",
        "- item",
        "+ item",
        "* item",
        "---",
        "===",
        "> quote",
        "&lt;b&gt;",
        "\\[x](y)",
        "one\n\n# two",
        "one\u2028two",
        "```",
        "    code",
        "[x]: http://y",
        "<http://x>",
        "a\\|b",
    ],
)
def test_markdown_shows_the_text_itself(text):
    html = rendered(f"{markdown(text)}\n")
    assert re.sub(r"&(\w+);", "", html).count("<") == 2, html  # <p> and </p> alone
    shown = html.removeprefix("<p>").removesuffix("</p>\n")
    for entity, character in (("&lt;", "<"), ("&gt;", ">"), ("&quot;", '"'), ("&amp;", "&")):
        shown = shown.replace(entity, character)
    assert shown == one_line(text)
    cell = rendered(f"| a | b |\n| --- | --- |\n| {markdown(text)} | {code(text)} |\n")
    assert cell.count("<td>") == 2, cell


def test_addresses_do_not_become_links():
    for address in ("http://x.test", "HTTPS://x.test", "www.x.test", "ftp://x"):
        assert not re.search(r"://|www\.", markdown(address))
    assert markdown("retain_only forget_15") == "retain_only forget_15"


def test_code_holds_backticks():
    assert rendered(code("a `b` ``c")) == "<p><code>a `b` ``c</code></p>\n"
    assert rendered("\n".join(code_block("```\nx\u2028y\x1b"))) == "<pre><code>```\nx y\n</code></pre>\n"


def test_every_printer_of_outside_text_uses_this_room():
    """Control characters are known here alone."""
    own = sorted(
        file.relative_to(ROOT).as_posix()
        for package in ("mllmu_tasks", "mllmu_unlearn")
        for file in (ROOT / package).rglob("*.py")
        if re.search(r"\\x7f-\\x9f|\\ud800-\\udfff", file.read_text(encoding="utf-8"))
    )
    assert own == ["mllmu_tasks/strict_json.py", "mllmu_tasks/text_safety.py"]


EVIL = '=1+1;[l](mailto:a@t.test)<img src=x>|\n\n# h\x1b]8;;x:t.test\x07\x9b31m\u202eevil\u2028"\ud800'


@pytest.fixture
def evil_folder(write_run, tmp_path, monkeypatch):
    """Results of a model whose name, seed and people are hostile."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(tmp_path / "summary.md"))
    leaves = [f"mllmu_{split}_cloze_{modality}" for split in ("forget", "real") for modality in ("image", "text")]
    scores = {leaf: {EVIL: [1.0], "2": [0.0]} for leaf in leaves}
    facts = {"shots": [EVIL], "questions": 2, "data": EVIL}
    return write_run("a", scores, model_args=f"peft={EVIL}", facts=facts, other={f"mllmu_{EVIL}": {}})


@pytest.mark.parametrize(
    "words",
    [
        ("results", "a"),
        ("results", "a", "--format", "markdown"),
        ("results", "a", "--format", "csv"),
        ("results", "a", "--format", "json"),
        ("check", "a", "--markdown", "o.md", "--json", "o.json", "--junit", "o.xml"),
        ("report", "a", "--out", "r"),
        ("baseline", "save", "a", "--out", "b"),
        ("judge", "a", "--dry_run", "--key_env", ""),
    ],
)
def test_no_command_shows_what_must_not_be_shown(evil_folder, tmp_path, words):
    done = CliRunner().invoke(app, list(words))
    assert done.exception is None or isinstance(done.exception, UserError | SystemExit), done.exception
    texts = {"output": done.output}
    names = ("o.*", "summary.md", "r/*.*", "r/figures/*.svg")
    texts |= {file.name: file.read_text(encoding="utf-8") for name in names for file in tmp_path.glob(name)}
    if "markdown" in words:
        texts["stdout.md"] = done.stdout
    for name, text in texts.items():
        assert text == printable(text), name
        if name.endswith(".md"):
            outside = re.sub(r"^```\n.*?^```$", "", text, flags=re.DOTALL | re.MULTILINE)
            assert not re.search(r"(?<!\\)\]\((?!figures)|<img|^# h", outside, flags=re.MULTILINE), name


def test_a_hostile_name_is_a_text_in_csv(evil_folder):
    lines = list(csv.DictReader(io.StringIO(CliRunner().invoke(app, ["results", "a", "--format", "csv"]).stdout)))
    assert [line["run"][:5] for line in lines] == ["'=1+1"] * 2
