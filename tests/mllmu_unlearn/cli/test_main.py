"""Exit codes and terminals of the whole command line: 1 is a verdict's alone."""

import errno
import os
import signal
import subprocess
import sys

import pytest
import typer

from mllmu_tasks.errors import UserError
from mllmu_unlearn.cli import main as cli
from mllmu_unlearn.cli.check import Verdict

MLLMU = [sys.executable, "-m", "mllmu_unlearn"]


@pytest.fixture
def ends(monkeypatch, capsys, tmp_path):
    """ends(what a command raises) -> (exit code, lines on stderr)."""
    monkeypatch.setenv("MLLMU_CACHE", str(tmp_path))
    monkeypatch.setattr(sys, "argv", ["mllmu"])

    def run(raised):
        app = typer.Typer(pretty_exceptions_enable=False)

        @app.command()
        def command():
            raise raised

        monkeypatch.setattr(cli, "app", app)
        with pytest.raises(SystemExit) as ended:
            cli.main()
        return ended.value.code, capsys.readouterr().err.splitlines()

    return run


@pytest.mark.parametrize(
    ("raised", "code"),
    [
        (Verdict(1), 1),
        (Verdict(0), 0),
        (SystemExit(1), 2),
        (SystemExit(), 0),
        (SystemExit(130), 130),
        (typer.Exit(1), 2),
        (typer.Exit(2), 2),
        (KeyboardInterrupt(), 130),
        (BrokenPipeError(errno.EPIPE, "Broken pipe"), 2),
    ],
)
def test_ends_without_words(ends, raised, code):
    assert ends(raised) == (code, [])


@pytest.mark.parametrize(
    ("raised", "says"),
    [
        (UserError("wrong; do this."), "mllmu: error: wrong; do this."),
        (SystemExit("stopped"), "mllmu: error: stopped"),
        (OSError(errno.ENOSPC, "No space left", "/x"), "mllmu: error: the disk is full ('/x'); free some room"),
        (OSError(errno.EROFS, "Read-only file system"), "mllmu: error: Read-only file system; see that this place"),
        (RecursionError("too deep"), "mllmu: error: RecursionError: too deep. This was not foreseen; the trace is in"),
        (MemoryError(), "mllmu: error: MemoryError. This was not foreseen; the trace is in '"),
        (AssertionError("a\nb"), "mllmu: error: AssertionError: a b. This was not foreseen; the trace is in '"),
    ],
)
def test_ends_with_one_sentence(ends, raised, says):
    code, (line,) = ends(raised)
    assert code == 2
    assert line.startswith(says)


def test_an_unknown_flag_or_command_is_2():
    for arguments in (["results", "--bogus"], ["bogus"], ["results"]):
        assert subprocess.run([*MLLMU, *arguments], capture_output=True, check=False).returncode == 2


def test_a_reader_that_has_seen_enough_is_told_nothing():
    read, write = os.pipe()
    os.close(read)
    done = subprocess.run([*MLLMU, "methods"], stdout=write, stderr=subprocess.PIPE, text=True, check=False)
    os.close(write)
    assert (done.returncode, done.stderr) == (2, "")


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="a device of Linux")
def test_a_full_output_is_one_sentence():
    with open("/dev/full", "w") as full:
        done = subprocess.run([*MLLMU, "methods"], stdout=full, stderr=subprocess.PIPE, text=True, check=False)
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1
    assert done.stderr.startswith("mllmu: error: ")


@pytest.mark.parametrize("encoding", ["ascii", "cp1252", "latin-1"])
def test_a_terminal_without_utf_8_gets_text_that_reads_alike(encoding):
    code = (
        "from mllmu_tasks import streams; streams.ready(); streams.ready(); "
        "print('a \\u00b1 \\u2192 \\u2026 \\u2501\\u2503\\u253c \\u2212 \\u2013 \\u201cx\\u2019 \\u00e9 \\u4eba')"
    )
    environment = {**os.environ, "PYTHONIOENCODING": encoding, "PYTHONUTF8": "0"}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, env=environment, check=False)
    assert done.returncode == 0, done.stderr
    text = done.stdout.decode(encoding)
    kept = {"ascii": "a +- -> ... -|- - - \"x' e ?"}.get(encoding)
    assert text.strip() == kept if kept else text.startswith("a ± -> ")


def test_ctrl_c_in_a_command_is_130(tmp_path):
    code = (
        "import os, signal, sys\nfrom mllmu_unlearn.cli import main as cli, methods\n"
        "def stop(*_): os.kill(os.getpid(), signal.SIGINT)\n"
        "import mllmu_unlearn.methods\nmllmu_unlearn.methods.names = stop\n"
        "sys.argv = ['mllmu', 'methods']\ncli.main()"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode in (130, -signal.SIGINT), done.stderr
    assert "Traceback" not in done.stderr
