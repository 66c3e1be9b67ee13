import pytest
from typer.testing import CliRunner

from mllmu_tasks.errors import UserError
from mllmu_unlearn.cli.main import app
from mllmu_unlearn.methods import get, names


def run(*arguments: str) -> str:
    outcome = CliRunner().invoke(app, ["methods", *arguments], catch_exceptions=False)
    assert outcome.exit_code == 0
    return outcome.output


def test_all_are_listed():
    lines = run().splitlines()
    assert [line.split()[0] for line in lines[: len(names())]] == list(names())


@pytest.mark.parametrize("name", names())
def test_one_is_described_with_its_flags(name):
    text = run(name)
    assert get(name).formula in text
    for option in get(name).hyper_parameters():
        assert f"--{option} " in text


def test_markdown_rows_have_as_many_cells_as_the_head():
    rows = run("--markdown").replace("\\|", "").splitlines()
    assert {row.count("|") for row in rows} == {6}
    assert len(rows) == 2 + len(names())


def test_the_table_is_written_into_a_document(tmp_path):
    page = tmp_path / "methods.md"
    page.write_text("before\n<!-- begin methods -->\nold\n<!-- end methods -->\nafter\n")
    run("--write", str(page))
    table = run("--markdown").strip()
    assert page.read_text() == f"before\n<!-- begin methods -->\n{table}\n<!-- end methods -->\nafter\n"


@pytest.mark.parametrize("name", [name for name in names() if "." not in name])
def test_every_shipped_method_passes_its_check(name):
    extra = ["--hyper_parameters", '{"epsilon": 1.0}'] if name == "pdu" else []
    assert f"{name}: the class is complete; " in run(name, "--check", *extra)


def test_an_unknown_one_is_named():
    with pytest.raises(UserError, match="Did you mean 'npo'"):
        CliRunner().invoke(app, ["methods", "np"], catch_exceptions=False)
