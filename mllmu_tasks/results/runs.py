"""lmms-eval's output folders -> typed runs, out of `*_results.json` and `*_samples_*.jsonl` alone."""

import json
import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

from mllmu_tasks.benchmark import OUR_MODELS, Leaf
from mllmu_tasks.errors import UserError

RESULTS_SUFFIX = "_results.json"
FACTS_METRIC = "mllmu_facts,none"
ABOUT = (
    "lmms_eval_version",
    "git_hash",
    "total_evaluation_time_seconds",
    "throughput",
    "configs",
    "system_instruction",
)
LOGGED = ("filtered_resps", "options", "mllmu_by_person")


@dataclass(frozen=True)
class Sample:
    """One scored question as logged by lmms-eval (see `scoring.py` for the fields). logged: LOGGED, as they are."""

    leaf: Leaf
    person: str
    question_index: int
    score: float
    prediction: str
    gold: str
    answered: bool
    parsed: bool
    metrics: dict[str, float]
    question: str = ""
    logged: dict = field(default_factory=dict)


@dataclass(frozen=True)
class Run:
    """One lmms-eval run: what was evaluated, with which settings, and every scored question.

    facts: leaf name -> the settings in force (data, hash, seed, shots, ...), as the task recorded them.
    scores: leaf name -> what lmms-eval put into the results file. config: its record of the command line.
    about: the rest of what it says about the run: ABOUT.
    """

    file: Path
    model: str
    model_args: str
    date: str
    limit: float | None
    facts: dict[str, dict]
    leaves: tuple[Leaf, ...]
    samples: tuple[Sample, ...]
    other_results: dict[str, dict] = field(default_factory=dict)
    scores: dict[str, dict] = field(default_factory=dict)
    config: dict = field(default_factory=dict)
    about: dict = field(default_factory=dict)

    @property
    def name(self) -> str:
        """Folder name of the adapter or model that was evaluated, else the model's id."""
        for key in ("peft", "pretrained", "answers"):
            value = self.argument(key)
            if value:
                return Path(value).name or value
        return self.model

    @property
    def answered_rate(self) -> float | None:
        return sum(s.answered for s in self.samples) / len(self.samples) if self.samples else None

    @property
    def may_hide_failures(self) -> bool:
        """True for backends of lmms-eval, several of which turn a failure into an empty answer."""
        return self.model not in OUR_MODELS

    @property
    def is_result(self) -> bool:
        """False if a backend that may hide failures left a question without an answer: others of its answers may
        be wrong for the same reason (stock `llava_hf` answers a text question from the image question before it).
        """
        return not self.may_hide_failures or all(sample.answered for sample in self.samples)

    @property
    def prompt_style(self) -> str:
        """`chat` or `official` of our models; `of BACKEND` where a backend of lmms-eval renders in its own way."""
        if self.may_hide_failures:
            return f"of {self.argument('backend') or self.model}"
        return self.argument("prompt_style") or "chat"

    def argument(self, name: str) -> str:
        """A value of --model_args; "" if it is not there."""
        match = re.search(rf"(?:^|,){name}=([^,]*)", self.model_args)
        return match[1] if match else ""

    def sample_file(self, task: str) -> Path:
        """Where lmms-eval logs the samples of a task of this run."""
        return self.file.with_name(f"{self.date}_samples_{task}.jsonl")


def results_files(path: Path) -> list[Path]:
    """The results files at or below a path, oldest first. Raises UserError if the path does not exist."""
    if not path.exists():
        raise UserError(f"'{path}' does not exist; give the --output_path of an lmms-eval run.")
    return [path] if path.is_file() else sorted(path.rglob(f"*{RESULTS_SUFFIX}"))


def load_runs(paths: Iterable[str | Path]) -> list[Run]:
    """Every run with at least one MLLMU leaf below the given folders or results files, oldest first.

    Raises UserError if a path does not exist, holds no results of MLLMU tasks, or a file does not parse.
    """
    runs = []
    for path in map(Path, paths):
        found = [run for run in map(load_run, results_files(path)) if run.leaves]
        if not found:
            raise UserError(
                f"'{path}' holds no results of MLLMU tasks; lmms-eval ends with exit code 0 even when a run "
                "failed, so read its log, and run it with --log_samples --output_path."
            )
        runs += found
    return runs


def load_run(file: Path) -> Run:
    """One `*_results.json` with the sample files of the same date beside it. Raises UserError."""
    try:
        results = json.loads(file.read_text(encoding="utf-8"))
        scores = dict(results["results"])
        config = dict(results.get("config") or {})
        facts = {task: _facts(values) for task, values in scores.items()}
    except (ValueError, KeyError, TypeError, AttributeError, OSError) as error:
        raise UserError(f"'{file}' is no results file of lmms-eval ({error}).") from error
    leaves, other = [], {}
    for task, values in scores.items():
        try:
            leaves.append(Leaf.parse(task))
        except ValueError:
            if not task.startswith("mllmu"):
                other[task] = values
    date = file.name.removesuffix(RESULTS_SUFFIX)
    samples = []
    for leaf in leaves:
        samples += _samples(file.with_name(f"{date}_samples_{leaf.name}.jsonl"), leaf)
    return Run(
        file=file,
        model=str(config.get("model", "")),
        model_args=_arguments(config.get("model_args")),
        date=date,
        limit=config.get("limit"),
        facts={leaf.name: facts[leaf.name] for leaf in leaves},
        leaves=tuple(leaves),
        samples=tuple(samples),
        other_results=other,
        scores={leaf.name: scores[leaf.name] for leaf in leaves},
        config=config,
        about={key: results.get(key) for key in ABOUT},
    )


def _arguments(given: object) -> str:
    """As on the command line; lmms-eval's --config takes a mapping as well."""
    return ",".join(f"{k}={v}" for k, v in given.items()) if isinstance(given, dict) else str(given or "")


def _facts(values: dict) -> dict:
    text = values.get(FACTS_METRIC)
    return json.loads(text) if isinstance(text, str) and text.startswith("{") else {}


def _samples(file: Path, leaf: Leaf) -> list[Sample]:
    if not file.exists():
        raise UserError(f"'{file}' is missing; run lmms-eval with --log_samples.")
    samples = []
    for number, line in enumerate(file.read_text(encoding="utf-8").splitlines(), start=1):
        try:
            row = json.loads(line)
            if row.get("person") is None:  # the placeholder of a leaf that has no question to ask
                continue
            samples.append(
                Sample(
                    leaf=leaf,
                    person=row["person"],
                    question_index=row["question_index"],
                    score=float(row["score"]),
                    prediction=row["prediction"],
                    gold=row["gold"],
                    answered=bool(row["answered"]),
                    parsed=bool(row["parsed"]),
                    metrics={k: float(v) for k, v in row.items() if k.startswith("mllmu_") and _number(v)},
                    question=row.get("question", ""),
                    logged={key: row[key] for key in LOGGED if key in row},
                )
            )
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise UserError(f"'{file}' line {number} is no scored MLLMU question ({error!r}).") from error
    return samples


def _number(value: object) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)
