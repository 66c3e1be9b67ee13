"""The choices that static task YAMLs cannot carry, read from MLLMU_DATA, _SEED, _SHOTS,
_SHOT_QUESTIONS, _MAY_LOSE."""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from mllmu_tasks.benchmarks.mllmu.spec import Task
from mllmu_tasks.data.missing import MAY_LOSE, VARIABLE
from mllmu_tasks.errors import UserError, quoted

DEFAULT_DATA = "MLLMMU/MLLMU-Bench"
MOST_DIGITS = 18  # of a number in the environment


def cache_folder() -> Path:
    """Where this package keeps what it can rebuild: MLLMU_CACHE, default ~/.cache/mllmu.

    Raises UserError where there is no home, as for a user number that the machine does not know.
    """
    named = os.environ.get("MLLMU_CACHE")
    if named:
        return Path(named)
    try:
        return Path.home() / ".cache" / "mllmu"
    except RuntimeError as error:
        raise UserError("this user has no home folder; set HOME, or MLLMU_CACHE to a folder of your own.") from error


def require_home() -> None:
    """Raise UserError where the libraries under an evaluation would put their caches into a folder called `~`."""
    if os.path.expanduser("~") == "~" and not os.environ.get("HF_HOME"):
        raise UserError("this user has no home folder, where data are cached; set HOME to a folder of your own.")


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

    def shot_people(self, task: Task) -> int:
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
            may_lose=_share(VARIABLE, environ.get(VARIABLE, "").strip() or str(MAY_LOSE)),
        )


def _whole(name: str, text: str) -> int:
    if not text.isdecimal() or len(text) > MOST_DIGITS:
        raise UserError(f"{name}={quoted(text)} is not a whole number of 0 or more, with at most {MOST_DIGITS} digits.")
    return int(text)


def _share(name: str, text: str) -> float:
    try:
        share = float(text)
    except ValueError:
        share = -1.0
    if not 0 <= share <= 1:
        raise UserError(f"{name}='{text}' is not a share between 0 and 1.")
    return share


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
