"""JSON from outside: one sentence for whatever cannot be read, and lines that end at a line feed alone."""

import json
import math

import pytest

from mllmu_tasks.errors import UserError
from mllmu_tasks.strict_json import expect, expect_number, is_finite, loads, read_lines, read_object

SEPARATORS = "a\u2028b\u2029c\x85d\x0be\x0cf\x1cg"


def test_lines_end_at_a_line_feed_alone(tmp_path):
    file = tmp_path / "x.jsonl"
    rows = [{"a": SEPARATORS}, {"a": "second\x00"}]
    file.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8")
    assert list(read_lines(file, "row")) == [(1, rows[0]), (2, rows[1])]


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (b"[" * 200_000, "nested too deeply"),
        (b'{"a":' * 200_000, "nested too deeply"),
        (b"\xff\xfe", "can't decode byte 0xff"),
        (b'{"a": ' + b"9" * 5000 + b"}", "4300"),
        (b"[1]", "no JSON object"),
        (b"", "Expecting value"),
        (b'{"a": 1', "Expecting"),
    ],
)
def test_one_sentence_for_what_cannot_be_read(tmp_path, content, why):
    file = tmp_path / "x.json"
    file.write_bytes(content)
    with pytest.raises(UserError, match="is no results file") as said:
        read_object(file, "results file")
    assert why in str(said.value)
    assert len(str(said.value)) < 500 + len(str(file))
    if content:
        with pytest.raises(UserError, match="line 1 is no row") as said:
            list(read_lines(file, "row"))
        assert "\n" not in str(said.value)


def test_what_is_no_file_is_said(tmp_path):
    for read in (lambda: read_object(tmp_path, "results file"), lambda: list(read_lines(tmp_path, "row"))):
        with pytest.raises(UserError, match="Is a directory"):
            read()


def test_half_a_surrogate_pair_can_be_written_afterwards():
    found = loads('{"a\\ud800": ["\\uDC01x", {"b": "\\ud83d\\ude00"}]}')
    assert found == {"a\ufffd": ["\ufffdx", {"b": "\U0001f600"}]}
    str(found).encode()


def test_types_are_what_is_expected_or_named():
    row = {"text": "x", "one": 1, "yes": True, "huge": 10**400, "nan": math.nan, "long": "x" * 10_000}
    assert (expect(row, "text", str), expect(row, "none", str, default="")) == ("x", "")
    assert (expect(row, "yes", bool, int), expect_number(row, "one")) == (True, 1.0)
    for key, kinds in (("one", (str,)), ("yes", (int,)), ("long", (int, dict)), ("none", (str,))):
        with pytest.raises(ValueError, match=f"'{key}' is .{{1,200}}, where .* is needed"):
            expect(row, key, *kinds)
    with pytest.raises(ValueError, match="larger than any number"):
        expect_number(row, "huge")
    assert [is_finite(row[key]) for key in ("one", "yes", "huge", "nan", "text")] == [True, False, False, False, False]
