"""docs/backends.md holds what its script writes: a row for every case, and nothing that mllmu_hf cannot do."""

import re

from places import DOCS
from write_backends_table import CASES, COLUMNS

DOC = (DOCS / "backends.md").read_text(encoding="utf-8")


def table(mark):
    (text,) = re.findall(rf"<!-- {mark} -->\n(.*?)<!-- /{mark} -->", DOC, re.DOTALL)
    return [
        [cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]] for line in text.splitlines() if line[:1] == "|"
    ]


def test_every_case_has_a_row():
    heads, _, *rows = table("ran")
    assert heads[2:] == list(COLUMNS.values())
    shown = [(row[0].split("`")[1], row[1]) for row in rows]
    assert shown == [(backend, family) for backend, _, family, _ in CASES]
    assert all(all(row) for row in rows)


def test_mllmu_hf_can_do_all_of_it():
    rows = [row for row in table("ran") if row[0] == "`mllmu_hf`"]
    assert len(rows) == 2
    assert {cell for row in rows for cell in row[2:]} == {"yes"}


def test_what_was_not_run_is_listed_with_a_reason():
    _, _, *rows = table("not-run")
    named = {name for row in rows for name in re.findall(r"`(\w+)`", row[1])}
    assert {"vllm", "sglang", "openai"} <= named
    assert not named & {backend for backend, *_ in CASES}
    assert all(row[0] for row in rows)
