import pytest

from mllmu_unlearn.experiments.last_words import SHOWN, TAIL, exception_of, last_words

TRACE = """Traceback (most recent call last):
  File "a.py", line 1, in <module>
    deep()
ValueError: not enough values to unpack (expected 2, got 1)
"""
RETRIED = f"""{TRACE}
The above exception was the direct cause of the following exception:

Traceback (most recent call last):
  File "b.py", line 2, in call
    raise retry_exc from fut.exception()
tenacity.RetryError: RetryError[<Future at 0x1 state=finished raised ValueError>]
"""


@pytest.fixture
def log(tmp_path):
    def write(content: str | bytes):
        file = tmp_path / "stage.log"
        file.write_bytes(content if isinstance(content, bytes) else content.encode())
        return file

    return write


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("99%mllmu: error: no such adapter\nmore\n", "mllmu: error: no such adapter"),
        (f"{TRACE}mllmu: error: ours comes first\n", "mllmu: error: ours comes first"),
        (f"start\n{TRACE}Bye\n", "ValueError: not enough values to unpack (expected 2, got 1)"),
        (RETRIED, "ValueError: not enough values to unpack (expected 2, got 1)"),
        (RETRIED.partition("following exception:")[2], "tenacity.RetryError: RetryError[<Future at 0x1 state=finished"),
        (TRACE.replace("ValueError: not", "torch.OutOfMemoryError: \x1b[31mnot"), "torch.OutOfMemoryError: not enough"),
        (TRACE.partition("ValueError")[0] + "AssertionError\n", "AssertionError"),
        ("Error: this is no trace\nthe end\n\n", "the end"),
        (b"\xff\xfe\x1b[2Jbad", "\ufffd\ufffd\\x1b[2Jbad"),
        ("", "it printed nothing"),
    ],
)
def test_what_was_said_last(log, content, words):
    said = last_words(log(content))
    assert said.startswith(words)
    assert said.isprintable()


def test_of_a_huge_log_only_the_end_is_read(log):
    head = f"mllmu: error: long ago\n{'x' * 2 * TAIL}\n"
    assert last_words(log(head + TRACE)).startswith("ValueError")
    assert len(last_words(log(head + "y" * 10 * SHOWN))) < 2 * SHOWN


def test_the_exception_of_a_log(log, tmp_path):
    assert exception_of(log(TRACE)).startswith("ValueError: not enough")
    assert exception_of(log("all is well\n")) == ""
    assert exception_of(tmp_path / "absent.log") == ""
