"""lmms-eval's output folders -> typed runs, out of `*_results.json` and `*_samples_*.jsonl` alone."""

import re
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from pathlib import Path

from mllmu_tasks.errors import UserError, reason_of, shown
from mllmu_tasks.own_models import OUR_MODELS
from mllmu_tasks.results import joined, old_format
from mllmu_tasks.results.columns import Leaf, describes_itself, leaf_of
from mllmu_tasks.strict_json import expect, expect_number, is_finite, loads, read_lines, read_object

RESULTS_SUFFIX = joined.RESULTS_SUFFIX
FACTS_METRIC = "mllmu_facts,none"
FACT_TYPES = {
    "data": str,
    "data_hash": str,
    "seed": int,
    "shots": list,
    "shot_questions": int,
    "shot_people": list,
    "questions": int,
    "people": int,
    "left_out": dict,
}
"""Of what every leaf records; each may be absent or null."""
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
    """One scored question as logged by lmms-eval. metrics: the leaf's and joined ones. logged: LOGGED, as they are."""

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
    about: the rest of what it says about the run: ABOUT. unknown: tasks named `mllmu...` that are no leaf and no group
    of this version.
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
    unknown: tuple[str, ...] = ()

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
    found = sorted(path.rglob(f"*{RESULTS_SUFFIX}")) if path.is_dir() else [path]
    return [file for file in found if file.is_file()]  # a named pipe of that name would wait for ever


def load_runs(paths: Iterable[str | Path]) -> list[Run]:
    """Every run with at least one MLLMU leaf below the given folders or results files, oldest first.

    Raises UserError if a path does not exist, holds no results of MLLMU tasks, or a file does not parse.
    """
    runs = []
    for path in map(Path, paths):
        every = [load_run(file) for file in results_files(path)]
        found = [run for run in every if run.leaves]
        if not found:
            strange = sorted({task for run in every for task in run.unknown})
            raise UserError(
                f"'{path}' holds no results of MLLMU tasks"
                + (f" that this version knows ({', '.join(strange)})" if strange else "")
                + "; lmms-eval ends with exit code 0 even when a run failed, so read its log, and run it with "
                "--log_samples --output_path."
            )
        runs += found
    return runs


def load_run(file: Path) -> Run:
    """One `*_results.json` with the sample files of the same date beside it. Raises UserError."""
    results = read_object(file, "results file of lmms-eval")
    try:
        scores = {task: expect(results["results"], task, dict) for task in expect(results, "results", dict)}
        config = _config(expect(results, "config", dict, default={}))
        facts = {task: _facts(task, values) for task, values in scores.items()}
        expect(results, "throughput", dict, default={})
        groups = {*expect(results, "groups", dict, default={}), *expect(results, "group_subtasks", dict, default={})}
    except ValueError as error:
        raise UserError(f"'{file}' is no results file of lmms-eval ({error}).") from error
    leaves, other, unknown = [], {}, []
    for task, values in scores.items():
        try:
            leaf = old_format.leaf_of(task)
            leaf = leaf_of(task, facts[task], leaf) if describes_itself(facts[task]) else leaf
        except ValueError as error:
            raise UserError(f"'{file}' is no results file of lmms-eval ({FACTS_METRIC} of {task}: {error}).") from error
        if leaf:
            leaves.append(leaf)
        elif not old_format.claims(task):
            other[task] = values
        elif task not in groups and not old_format.is_group(task):
            unknown.append(task)
    date = file.name.removesuffix(RESULTS_SUFFIX)
    samples = {leaf: _samples(file.with_name(f"{date}_samples_{leaf.name}.jsonl"), leaf) for leaf in leaves}
    leaves, samples = _join(file, samples)
    return Run(
        file=file,
        model=config.get("model") or "",
        model_args=_arguments(config.get("model_args")),
        date=date,
        limit=config.get("limit"),
        facts={leaf.name: facts[leaf.name] for leaf in leaves},
        leaves=leaves,
        samples=samples,
        other_results=other,
        scores={leaf.name: scores[leaf.name] for leaf in leaves},
        config=config,
        about={key: results.get(key) for key in ABOUT},
        unknown=tuple(unknown),
    )


def _join(file: Path, scored: dict[Leaf, list[Sample]]) -> tuple[tuple[Leaf, ...], tuple[Sample, ...]]:
    """Leaves and samples with the columns that scorers put beside the run. Raises UserError."""
    values: dict[tuple[str, str, int], dict[str, float]] = {}
    metrics: dict[str, dict] = {}
    for row in joined.read(file):
        values.setdefault((row.leaf, row.person, row.question_index), {}).update(row.values)
        metrics.setdefault(row.leaf, {}).update({metric.name: metric for metric in row.metrics})
    leaves: list[Leaf] = []
    samples: list[Sample] = []
    for plain, found in scored.items():
        leaf = plain.with_joined(metrics[plain.name].values()) if plain.name in metrics else plain
        leaves.append(leaf)
        for sample in found:
            more = values.get((leaf.name, sample.person, sample.question_index), {})
            samples.append(replace(sample, leaf=leaf, metrics=sample.metrics | more) if leaf.joined else sample)
    return tuple(leaves), tuple(samples)


def _config(given: dict) -> dict:
    """lmms-eval's record of the command line. Raises ValueError if what is read of it has another type."""
    expect(given, "model", str, default="")
    expect(given, "model_args", str, dict, default="")
    expect(given, "resolved_cli_args", dict, default={})
    if given.get("limit") is not None and not is_finite(given["limit"]):
        raise ValueError(f"'limit' is {shown(given['limit'])}, where a number is needed")
    return given


def _arguments(given: str | dict | None) -> str:
    """As on the command line; lmms-eval's --config takes a mapping as well."""
    return ",".join(f"{k}={v}" for k, v in given.items()) if isinstance(given, dict) else given or ""


def _facts(task: str, values: dict) -> dict:
    """What the task recorded of itself; {} if nothing. Raises ValueError for values of another type."""
    text = values.get(FACTS_METRIC)
    if not isinstance(text, str) or not text.startswith("{"):
        return {}
    try:
        facts = loads(text)
        for key, kind in FACT_TYPES.items():
            expect(facts, key, kind, default=None)
    except ValueError as error:
        raise ValueError(f"{FACTS_METRIC} of {task}: {reason_of(error, 200)}") from error
    return facts


def _samples(file: Path, leaf: Leaf) -> list[Sample]:
    if not file.is_file():
        raise UserError(f"'{file}' is missing; run lmms-eval with --log_samples.")
    samples = []
    for number, row in read_lines(file, "scored MLLMU question"):
        if "person" in row and row["person"] is None:  # the placeholder of a leaf that has no question to ask
            continue
        try:
            samples.append(_sample(row, leaf))
        except ValueError as error:
            raise UserError(f"'{file}' line {number} is no scored MLLMU question ({error}).") from error
    return samples


def _sample(row: dict, leaf: Leaf) -> Sample:
    return Sample(
        leaf=leaf,
        person=expect(row, "person", str),
        question_index=expect(row, "question_index", int),
        score=expect_number(row, "score"),
        prediction=expect(row, "prediction", str),
        gold=expect(row, "gold", str),
        answered=bool(expect(row, "answered", bool, int, float)),
        parsed=bool(expect(row, "parsed", bool, int, float)),
        metrics={
            key: expect_number(row, key)
            for key, value in row.items()
            if (key.startswith("mllmu_") and isinstance(value, (int, float)) and not isinstance(value, bool))
            or leaf.metric(key)
        },
        question=expect(row, "question", str, default=""),
        logged={key: row[key] for key in LOGGED if key in row},
    )
