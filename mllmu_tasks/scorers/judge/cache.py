"""Grades on disk, one small file each, so that no answer is ever paid for twice."""

import json
from dataclasses import asdict, dataclass
from pathlib import Path

from mllmu_tasks.artifacts.folders import write_whole
from mllmu_tasks.artifacts.identity import text_hash
from mllmu_tasks.errors import UserError
from mllmu_tasks.scorers.judge.rubric import VERSION
from mllmu_tasks.strict_json import expect, loads


@dataclass(frozen=True)
class Grade:
    """A parsed reply. score: 1..10. reply: the judge's words. answered_by: the model the server names."""

    score: int
    reply: str
    answered_by: str


LARGEST = 2**20  # bytes of a kept grade
GRADE_TYPES = {"score": int, "reply": str, "answered_by": str}


class GradeCache:
    """Grades of one judge (model at a base URL) in a folder, keyed by content.

    Several processes may share the folder: a file appears whole or not at all.
    """

    def __init__(self, folder: Path, model: str, base_url: str) -> None:
        self._judge = (VERSION, model, base_url)
        self._folder = folder

    def key(self, question: str, gold: str, answer: str) -> str:
        """sha256 hex of rubric version, model, base URL, question, gold and answer."""
        return text_hash(json.dumps([*self._judge, question, gold, answer]))

    def get(self, key: str) -> Grade | None:
        """None if there is no grade, or a file that the disk has damaged: that answer is asked again.

        Raises UserError if the folder cannot be read.
        """
        try:
            known = self._read(key)
            grade = Grade(**{key: expect(known, key, kind) for key, kind in GRADE_TYPES.items()})
        except (FileNotFoundError, ValueError, AttributeError):
            return None
        except OSError as error:
            raise UserError(f"'{self._folder}' cannot be read ({error.strerror}); set MLLMU_CACHE.") from error
        return grade if 1 <= grade.score <= 10 else None

    def _read(self, key: str) -> dict:
        with self._file(key).open("rb") as file:
            return loads(file.read(LARGEST))  # what is cut there is no JSON any more

    def put(self, key: str, grade: Grade) -> None:
        """Raises UserError if the folder cannot be written."""
        write_whole(self._file(key), json.dumps(asdict(grade)))

    def _file(self, key: str) -> Path:
        return self._folder / key[:2] / f"{key}.json"
