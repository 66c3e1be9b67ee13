"""Answers are written as they come, so that an interrupted evaluation goes on where it stopped.

They stay when all is answered: lmms-eval still has to score them and to write results, and a full disk or Ctrl-C
there must not cost the hours before.
"""

import functools
import json
import os
import time
import uuid
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

from mllmu_tasks.artifacts.identity import digest
from mllmu_tasks.errors import UserError

FINISHED = "finished"
DAYS_KEPT = 30
BYTES_KEPT = 2**30
DAY = 24 * 3600
PROCESS = uuid.uuid4().hex
"""This process; its number would come again, in a container in every run."""


class Journal:
    """The answers of one run, one JSON line each: [key of the request, answer, seal].

    file: made on the first answer, called by the hash of the run: weights, adapter, prompts, code. Several processes
    may append to one file. The seal binds run, question and answer, so that a line that was changed since, or comes
    from the file of another run, is not believed. spoilt: how many such lines there were. finished: what `finish`
    noted; None while questions are open.
    """

    def __init__(self, file: Path) -> None:
        self.file = file
        self.answers: dict[str, str] = {}
        self.finished: dict | None = None
        self.spoilt = 0
        self._torn = False
        if file.is_file():
            text = file.read_text(encoding="utf-8", errors="replace")
            self._torn = bool(text) and not text.endswith("\n")
            for line in text.split("\n"):
                self._read(line)

    def _read(self, line: str) -> None:
        try:
            key, answer, *seal = json.loads(line)
        except (ValueError, TypeError):
            return  # the line that was being written when the run was killed
        if key == FINISHED:
            self.finished = answer
        elif seal == [self._seal(key, answer)]:
            self.answers[key] = answer
        else:
            self.spoilt += 1

    def _seal(self, key: str, answer: str) -> str:
        return digest([self.file.stem, json.dumps([key, answer])])[:16]

    def write(self, keys: Sequence[str], answers: Sequence[str]) -> None:
        """Append answers; they survive the end of this process, however it ends. Raises UserError if it fails."""
        pairs = list(zip(keys, answers, strict=True))
        self._append([(key, answer, self._seal(key, answer)) for key, answer in pairs])
        self.answers.update(pairs)

    def finish(self, how: Mapping[str, Any]) -> None:
        """All is answered. how: what a later run must have in common to be answered from here."""
        if self.finished != how:
            self._append([(FINISHED, how)])
            self.finished = dict(how)

    def start_anew(self) -> None:
        """Forget the answers, on the disk too."""
        self.file.unlink(missing_ok=True)
        self.answers, self.finished, self._torn = {}, None, False

    def _append(self, lines: Sequence[tuple]) -> None:
        try:
            self.file.parent.mkdir(parents=True, exist_ok=True)
            with self.file.open("a", encoding="utf-8") as out:
                out.write("\n" * self._torn + "".join(json.dumps(line) + "\n" for line in lines))
        except OSError as error:
            raise UserError(f"answers cannot be kept in {self.file} ({error}); set MLLMU_CACHE to a folder.") from error
        self._torn = False


def open_journal(folder: Path, run: str, how: Mapping[str, Any], sampled: bool) -> Journal:
    """The journal of a run; `folder` is tidied first.

    The answers of a finished run are those of this one if it was asked in the same way by another process: equal
    weights, prompts, settings, code and batch size have equal greedy answers. Sampled ones are drawn anew, and so is
    whatever one process asks twice or at two batch sizes, since it means to compare.
    """
    tidy(folder)
    journal = Journal(folder / f"{run}.jsonl")
    before = journal.finished
    if before is not None and (sampled or before.get("process") == PROCESS or {**before, **how} != before):
        journal.start_anew()
    return journal


def tidy(folder: Path, now: float | None = None) -> None:
    """Remove journals of the last month's before, and the oldest beyond a GiB; none of the last day."""
    now = time.time() if now is None else now
    size = 0
    for file, stat in sorted(_stats(folder), key=lambda pair: pair[1].st_mtime, reverse=True):
        size += stat.st_size
        age = (now - stat.st_mtime) / DAY
        if age > DAYS_KEPT or (age > 1 and size > BYTES_KEPT):
            file.unlink(missing_ok=True)


def _stats(folder: Path) -> Iterator[tuple[Path, os.stat_result]]:
    for file in folder.glob("*.jsonl"):
        try:
            yield file, file.stat()
        except FileNotFoundError:  # another process tidies, too
            continue


ROOMS = ("models", "artifacts", "harness")
"""Where the code lies that turns a prompt into an answer."""


@functools.cache
def code() -> str:
    """What computes the answers besides the weights: our own code and the libraries under it."""
    package = Path(__file__).parents[1]
    files = [file for room in ROOMS for file in sorted((package / room).rglob("*.py"))]
    libraries = (f"{name} {version(name)}" for name in ("torch", "transformers", "peft"))
    return digest([*(file.read_bytes() for file in files), *libraries])


def request_keys(contents: Iterable[tuple[str, Sequence[str], Mapping[str, Any]]]) -> list[str]:
    """A key per request from (text, image hashes, settings).

    Equal greedy requests are one request; sampled ones differ by how often they came before.
    """
    keys, seen = [], Counter()
    for text, images, settings in contents:
        key = digest([text, *images, json.dumps(settings, sort_keys=True, default=str)])
        if settings.get("do_sample"):
            seen[key] += 1
            key = f"{key}-{seen[key]}"
        keys.append(key)
    return keys
