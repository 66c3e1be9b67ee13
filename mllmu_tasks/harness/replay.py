"""`mllmu_replay`: answers that are known beforehand, to test tasks, tables and gates without a model."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from lmms_eval.api.model import lmms

from mllmu_tasks import streams
from mllmu_tasks.benchmarks import registry
from mllmu_tasks.errors import UserError, did_you_mean, ends_the_run, stop
from mllmu_tasks.harness import answerer
from mllmu_tasks.harness.rendering import describe
from mllmu_tasks.harness.response_cache import identify
from mllmu_tasks.strict_json import read_lines
from mllmu_tasks.user_folders import require_home


class MllmuReplay(lmms):
    """answers=gold | constant:TEXT | file:DIR (the samples that an earlier lmms-eval run logged)."""

    is_simple = False

    @ends_the_run
    def __init__(self, answers: str = "", batch_size: Any = 1, device: Any = None, **unknown: Any) -> None:
        super().__init__()
        streams.ready()
        require_home()
        for name in unknown:
            if name != "max_batch_size":
                raise UserError(f"mllmu_replay has no argument '{name}'.{did_you_mean(name, ['answers'])}")
        if not answers.isascii() and answers != answers.encode("utf-8", "replace").decode():
            # lmms-eval could write neither its samples nor its record of the command line
            raise UserError("answers= holds bytes that are no UTF-8; write it in UTF-8.")
        self.how, colon, value = _unquoted(str(answers)).partition(":")
        self.value = _unquoted(value)
        complete = {"gold": not colon, "constant": bool(colon), "file": bool(self.value)}
        if not complete.get(self.how):
            raise UserError("mllmu_replay needs answers=gold, answers=constant:TEXT or answers=file:DIR.")
        self.logged = _read_logged(Path(self.value)) if self.how == "file" else {}
        identify("mllmu_replay", repr(sorted(self.logged.items(), key=repr)))
        answerer.note(answerer.Answerer("mllmu_replay"))

    def loglikelihood(self, requests: Sequence[Any]) -> list:
        stop("mllmu_replay gives texts; tasks that need log-likelihoods want another --model.")

    def generate_until_multi_round(self, requests: Sequence[Any]) -> list:
        stop("mllmu_replay has no multi-round generation.")

    @ends_the_run
    def generate_until(self, requests: Sequence[Any]) -> list[str]:
        return [self._answer(*request.args[3:6]) for request in requests]

    def _answer(self, doc_id: int, task: str, split: str) -> str:
        if self.how == "constant":
            return self.value
        doc = self.task_dict[task][split][doc_id]
        where = describe(task, doc_id, doc)
        if self.how == "gold":
            if "gold" not in doc:
                raise UserError(f"{where}: answers=gold knows the MLLMU tasks only; use answers=constant:TEXT.")
            return doc["gold"]
        key = (task, doc.get("person"), doc.get("question_index"))
        if key not in self.logged:
            raise UserError(f"{where}: no logged answer in '{self.value}'; was that run made with the same settings?")
        return self.logged[key]


def _unquoted(text: str) -> str:
    return text[1:-1] if len(text) >= 2 and text[0] == text[-1] and text[0] in "'\"" else text


def _read_logged(folder: Path) -> dict[tuple, str]:
    """(leaf, person, question_index) -> raw answer. Raises UserError if there is nothing to read."""
    files = [(file, file.stem.split("_samples_", 1)[1]) for file in sorted(folder.rglob("*_samples_*.jsonl"))]
    files = [(file, task) for file, task in files if registry.is_leaf(task)]
    if not files:
        raise UserError(f"'{folder}' holds no samples of MLLMU tasks; run lmms-eval with --log_samples.")
    logged: dict[tuple, str] = {}
    for file, task in files:
        for number, row in read_lines(file, "sample of lmms-eval"):
            answer = row.get("filtered_resps")  # lmms-eval logs a list of one as its item
            answer = answer[0] if isinstance(answer, list) and answer else answer
            person, index = row.get("person"), row.get("question_index")
            if not (isinstance(answer, str) and isinstance(person, str | None) and isinstance(index, int | None)):
                raise UserError(f"'{file}' line {number} is no sample of lmms-eval; log that run again.")
            key = (task, person, index)
            if logged.setdefault(key, answer) != answer:
                raise UserError(
                    f"'{folder}' holds several runs of {task} whose answers differ; give the folder of one."
                )
    return logged
