"""One sentence, whatever it quotes; and an end that lmms-eval cannot swallow."""

import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from mllmu_tasks import errors
from mllmu_tasks.errors import LONGEST_MESSAGE, LONGEST_VALUE, UserError, ends_the_run, quoted, shown


def test_a_message_is_one_bounded_line_without_control_characters():
    message = str(UserError("a\nb\x1b]0;title\x07c\u202ed\u2028e\x00\ud800" + "x" * 10_000_000 + "; do this."))
    assert message.startswith(r"a b\x1b]0;title\x07c\u202ed e\x00\ud800xxx")
    assert message.endswith("xxx; do this.")
    assert len(message) < LONGEST_MESSAGE + 60
    assert message.isprintable()


def test_a_value_leaves_the_sentence_its_words():
    text = quoted("y" * 10**6)
    assert len(text) < LONGEST_VALUE + 60
    assert "999,880 characters left out" in text
    assert quoted("009") == "'009'"
    assert quoted(7) == "'7'"
    assert shown(7) == "7"
    assert shown("7") == "'7'"


def test_what_cannot_be_written_out_is_described():
    lists = ["x"]
    for _ in range(40):
        lists = [lists] * 9
    assert len(quoted(lists)) < 200
    assert "5,001 digits" in shown(10**5000)


@ends_the_run
def fails(kind):
    raise kind("bad")


def test_a_mistake_of_ours_ends_with_one_line_that_names_its_trace(capsys, monkeypatch, tmp_path):
    monkeypatch.setenv("MLLMU_CACHE", str(tmp_path))
    with pytest.raises(SystemExit) as ended:
        fails(RuntimeError)
    assert ended.value.code == 2
    (line,) = capsys.readouterr().err.splitlines()
    (file,) = (tmp_path / "traces").glob("*.txt")
    assert line.startswith("mllmu: error: RuntimeError: bad. ")
    assert str(file) in line
    assert "in fails" in file.read_text(encoding="utf-8")


def test_a_package_that_does_not_import_is_named_with_a_remedy(capsys, monkeypatch, tmp_path):
    monkeypatch.setenv("MLLMU_CACHE", str(tmp_path))
    monkeypatch.setitem(sys.modules, "torchvision", None)

    @ends_the_run
    def needs_it():
        import torchvision  # noqa: F401

    with pytest.raises(SystemExit) as ended:
        needs_it()
    assert ended.value.code == 2
    line = capsys.readouterr().err
    assert "a package that mllmu needs is missing or broken (ModuleNotFoundError: import of torchvision" in line
    assert "install mllmu again with pip" in line


def test_a_trace_finds_a_place_where_the_cache_cannot_be_written(capsys, monkeypatch, tmp_path):
    (tmp_path / "file").touch()
    monkeypatch.setenv("MLLMU_CACHE", str(tmp_path / "file"))
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    with pytest.raises(SystemExit):
        fails(KeyError)
    assert len(list(tmp_path.glob("mllmu-trace-*.txt"))) == 1


def test_old_traces_go(monkeypatch, tmp_path):
    monkeypatch.setenv("MLLMU_CACHE", str(tmp_path))
    folder = tmp_path / "traces"
    folder.mkdir()
    for number in range(30):
        (folder / f"20250101-0000{number:02}-1.txt").touch()
    with pytest.raises(SystemExit):
        fails(ValueError)
    assert len(list(folder.iterdir())) == 20


def test_four_threads_that_fail_say_so_once(capsys, monkeypatch):
    """As lmms-eval scores: the first result that is looked at carries the end out of the pool."""
    monkeypatch.setattr(errors, "_SAID", threading.Lock())
    with ThreadPoolExecutor(4) as pool, pytest.raises(SystemExit) as ended:
        list(pool.map(fails, [UserError] * 8))
    assert ended.value.code == 2
    assert capsys.readouterr().err == "mllmu: error: bad\n"


def test_an_end_in_a_thread_ends_the_process():
    code = (
        "from concurrent.futures import ThreadPoolExecutor\nfrom mllmu_tasks.errors import ends_the_run\n"
        "@ends_the_run\ndef score(n):\n    raise OSError('disk')\n"
        "with ThreadPoolExecutor(4) as pool:\n    list(pool.map(score, range(9)))\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert done.stderr.count("mllmu: error: OSError: disk") == 1
    assert "Traceback" not in done.stderr
