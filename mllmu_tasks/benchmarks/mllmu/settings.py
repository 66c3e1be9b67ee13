"""The choices that static task YAMLs cannot carry, read from MLLMU_DATA, _SEED, _SHOTS,
_SHOT_QUESTIONS, _MAY_LOSE."""

import os
from collections.abc import Mapping
from dataclasses import dataclass

from mllmu_tasks.benchmarks.mllmu.spec import Task
from mllmu_tasks.data.missing import MAY_LOSE, may_lose
from mllmu_tasks.errors import UserError, quoted
from mllmu_tasks.user_folders import cache_folder, require_home

__all__ = ["DEFAULT_DATA", "Settings", "cache_folder", "require_home"]

DEFAULT_DATA = "MLLMMU/MLLMU-Bench"
MOST_DIGITS = 18  # of a number in the environment


@dataclass(frozen=True)
class Settings:
    """What decides which questions are asked.

    data: hub id, folder in the hub layout, or `mini`.
    seed: the S of the official `random.seed(S)` before each evaluation function.
    shots: people shown before (classification, cloze) questions.
    shot_questions: at most this many shot questions in one prompt; None shows all.
    may_lose: the share of a leaf's questions, or of a side's training pairs, that may be left out, 0 to 1.
    """

    data: str = DEFAULT_DATA
    seed: int = 0
    shots: tuple[int, int] = (1, 2)
    shot_questions: int | None = None
    may_lose: float = MAY_LOSE

    def shot_people(self, task: str) -> int:
        return {Task.CLASSIFICATION: self.shots[0], Task.CLOZE: self.shots[1], Task.GENERATION: 0}[task]

    @classmethod
    def from_environment(cls, environ: Mapping[str, str] = os.environ) -> "Settings":
        """Raises UserError for a value that does not parse."""
        questions = environ.get("MLLMU_SHOT_QUESTIONS", "").strip()
        return cls(
            data=environ.get("MLLMU_DATA", "").strip() or DEFAULT_DATA,
            seed=_whole("MLLMU_SEED", environ.get("MLLMU_SEED", "").strip() or "0"),
            shots=_shots(environ.get("MLLMU_SHOTS", "").strip() or "1,2"),
            shot_questions=_whole("MLLMU_SHOT_QUESTIONS", questions) if questions else None,
            may_lose=may_lose(environ),
        )


def _whole(name: str, text: str) -> int:
    if not text.isdecimal() or len(text) > MOST_DIGITS:
        raise UserError(f"{name}={quoted(text)} is not a whole number of 0 or more, with at most {MOST_DIGITS} digits.")
    return int(text)


def _shots(text: str) -> tuple[int, int]:
    counts = [_whole("MLLMU_SHOTS", part.strip()) for part in text.split(",")]
    if counts == [0]:
        return (0, 0)
    if len(counts) != 2:
        raise UserError(
            f"MLLMU_SHOTS={quoted(text)} needs two counts, <people for classification>,<people for cloze>, "
            "for example 1,2; a single 0 means zero-shot everywhere."
        )
    return (counts[0], counts[1])
