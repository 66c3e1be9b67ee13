"""What decides an answer, told to lmms-eval's response cache (`--use_cache`).

Its key knows a model by the words of the command line, and a question by the official prompt. An adapter trained
again in the same folder would be served the answers of the old one, and a test question with another picture the
answer to the first: unlearning would seem to have failed, or to have worked. So the key gets two more parts: a hash
of the weights that are loaded, and per MLLMU task a hash of its questions, examples, picture draws and data.
"""

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

from loguru import logger

from mllmu_tasks import __version__
from mllmu_tasks.artifacts.adapter_folder import CONFIG, read_adapter
from mllmu_tasks.artifacts.identity import digest, weights_fingerprint
from mllmu_tasks.artifacts.record import RECORD
from mllmu_tasks.benchmarks import registry
from mllmu_tasks.errors import UserError, ends_the_run
from mllmu_tasks.harness.answerer import note_kept
from mllmu_tasks.harness.patches import key_by_content

_CONTENT: dict[str, str] = {}
SEAL, ANSWER = "mllmu_seal", "answer"
BESIDE_WEIGHTS = (".json", ".jinja", ".txt", ".model")
"""What a model folder holds beside its weights that changes answers: templates, vocabularies, settings."""
OF_PROCESSORS = ("processor_config.json", "preprocessor_config.json", "tokenizer_config.json")


def identify(model: str, *content: str) -> None:
    """From now on, answers of the registered `model` of ours are kept apart by `content`."""
    _CONTENT[model] = digest(content)
    install()


def install() -> None:
    """Put content into the cache's keys; idempotent. Called when one of our tasks or models is made, never on
    registration: runs without them see an untouched cache.
    """
    key_by_content(_with_content)


def _with_content(original: Callable) -> Callable:
    @ends_the_run
    def create(*args: Any, model: Any = "", model_args: Any = "", **kwargs: Any) -> Any:
        content = {"content": _model_content(model, model_args)}
        known = model_args | content if isinstance(model_args, dict) else f"{model_args},content={content['content']}"
        cache = original(*args, model=model, model_args=known, **kwargs)
        cache._task_fingerprints |= _task_contents(cache._task_fingerprints)
        _seal_answers(cache)
        return cache

    return create


def _seal_answers(cache: Any) -> None:
    """Kept answers carry a seal over their key, which names weights, adapter and questions: what was changed since, or
    was kept before there were seals, is asked again, and what is served is counted for the results file.
    """
    lookup, store, log = cache._lookup, cache._store, cache._log_to_audit
    run = digest([cache.model_fingerprint, json.dumps(cache._task_fingerprints, sort_keys=True)])[:24]

    def look_up_sealed(cache_key: str) -> Any:
        found = lookup(cache_key)
        if found is None:
            return None
        if not isinstance(found, dict) or found.get(SEAL) != _seal(cache_key, found.get(ANSWER)):
            logger.warning("--use_cache: an answer is not as it was written there; it is asked again.")
            return None
        note_kept("cache", 1, run)
        return found[ANSWER]

    def store_sealed(cache_key: str, *where: Any) -> None:
        store(cache_key, *where[:-1], _sealed(cache_key, where[-1]))

    def log_sealed(*where: Any, cache_key: str = "", **more: Any) -> None:
        log(*where[:-1], _sealed(cache_key, where[-1]), cache_key=cache_key, **more)

    cache._lookup, cache._store, cache._log_to_audit = look_up_sealed, store_sealed, log_sealed


def _sealed(cache_key: str, answer: Any) -> dict[str, Any]:
    return {SEAL: _seal(cache_key, answer), ANSWER: answer}


def _seal(cache_key: str, answer: Any) -> str:
    return digest([cache_key, json.dumps(answer, default=str)])[:16]


def _model_content(model: Any, model_args: Any) -> str:
    """What our models said of themselves, and every file and folder that the arguments name."""
    given = model_args.values() if isinstance(model_args, dict) else _values(str(model_args or ""))
    paths = [Path(value) for value in given if isinstance(value, str) and value and os.path.exists(value)]
    return digest([_CONTENT.get(str(model), ""), *map(file_content, paths)])


def _values(arguments: str) -> list[str]:
    return [part.partition("=")[2] for part in arguments.split(",")]


def file_content(path: Path) -> str:
    """A hash of a file, or of the folder of a model, an adapter or a processor. Raises UserError for others."""
    if path.is_file():
        return digest([path.read_bytes()])
    whole = (path / "config.json").is_file()
    if not whole and ((path / CONFIG).is_file() or (path / RECORD).is_file()):
        return read_adapter(path).content_hash
    if whole or any((path / name).is_file() for name in OF_PROCESSORS):
        beside = sorted(file for file in path.iterdir() if file.suffix in BESIDE_WEIGHTS and file.is_file())
        weights = weights_fingerprint(str(path)) if whole else ""
        return digest([weights, *(part for file in beside for part in (file.name, file.read_bytes()))])
    raise UserError(
        f"--use_cache: what is in '{path}' cannot be told apart from what was there before, so old answers might be "
        "served; leave out --use_cache."
    )


def _task_contents(known: dict[str, str]) -> dict[str, str]:
    """Task -> its part of the key, with the content of the questions for ours."""
    found = {}
    for task, fingerprint in known.items():
        try:
            leaf = registry.leaf_of(task)
        except ValueError:
            continue
        questions = registry.benchmark(leaf.benchmark).questions(leaf)
        data = questions.source.hash(questions.configs)
        found[task] = digest([fingerprint, __version__, data, json.dumps(questions.rows)])
    return found
