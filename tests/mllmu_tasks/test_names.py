import pytest

from mllmu_tasks.errors import UserError
from mllmu_tasks.names import LONGEST, file_name, last_part


@pytest.mark.parametrize("name", ["npo", "npo-beta-0.1", "mit Umlaut ä", "x" * LONGEST, "-x"])
def test_a_name_that_can_be_a_file(name):
    assert file_name(name, "the cell") == name


@pytest.mark.parametrize(
    "name",
    [
        "",
        ".",
        "..",
        "../../../evil",
        "a/b",
        "a\\b",
        ".hidden",
        "a\nb",
        "a\x00b",
        " a",
        "a ",
        "\ud800",
        "\x1b[2J",
        "a\u202eb",
    ],
)
def test_what_cannot_be_a_file_is_refused_in_a_printable_sentence(name):
    with pytest.raises(UserError, match=r"the cell '.*' cannot name a file") as refusal:
        file_name(name, "the cell")
    assert str(refusal.value).isprintable()


def test_a_name_is_not_too_long_in_bytes():
    for name in ("x" * (LONGEST + 1), "ä" * (LONGEST // 2 + 1), "x" * 10**6):
        with pytest.raises(UserError, match="too long for the name of a file") as refusal:
            file_name(name, "the cell")
        assert len(str(refusal.value)) < 1000


def test_the_last_part_of_a_place_is_a_name(tmp_path, monkeypatch):
    (tmp_path / "npo" / "inside").mkdir(parents=True)
    monkeypatch.chdir(tmp_path / "npo" / "inside")
    assert [last_part(place) for place in (".", "..", "../../npo", "owner/adapter", "adapters/x/")] == [
        *("inside", "npo", "npo", "adapter", "x")
    ]
