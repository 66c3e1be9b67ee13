"""What the task YAMLs name: glue between lmms-eval and the rooms behind it.

Whatever goes wrong (data, settings, a mistake of ours) prints one line and leaves with exit code 2: lmms-eval would
retry an ordinary exception five times and end with exit code 0.
"""

import functools
import json
from collections.abc import Sequence

from PIL.Image import Image

from mllmu_tasks import streams
from mllmu_tasks.benchmarks import registry
from mllmu_tasks.benchmarks.base import Benchmark, Leaf
from mllmu_tasks.benchmarks.questions import LeafQuestions
from mllmu_tasks.data.missing import kind
from mllmu_tasks.data.people import Modality, Question
from mllmu_tasks.data.source import Source
from mllmu_tasks.errors import ends_the_run
from mllmu_tasks.harness import answerer, task_config, unanswered
from mllmu_tasks.scorers import base as scorers
from mllmu_tasks.scorers.base import SCORING

NOBODY = "There is no question to ask here."
FACTS = "mllmu_facts"
BY_PERSON = "mllmu_by_person"
COORDINATES = ("benchmark", "split", "role", "ratio", "task", "modality", "person", "question_index")
"""Where a sample belongs; with its scores these columns say all that a reader needs."""


@ends_the_run
def leaf_docs(dataset):
    """The leaf's descriptor (its name is the split's name) -> a data set of question rows, without images."""
    from datasets import Dataset

    from mllmu_tasks.harness import response_cache

    streams.ready()
    response_cache.install()
    leaf = registry.leaf_of(str(dataset.split))
    questions = registry.benchmark(leaf.benchmark).questions(leaf)
    rows = list(questions.rows) or [_placeholder(leaf)]
    _report(questions)
    return Dataset.from_list(rows)


def _placeholder(leaf: Leaf) -> dict:
    """lmms-eval cannot hold a task without documents; this one is asked and never scored."""
    return {
        "leaf": leaf.name,
        "benchmark": leaf.benchmark,
        "person": None,
        "modality": "text",
        "question": NOBODY,
        "gold": "",
        "options": "",
    }


def _report(questions: LeafQuestions) -> None:
    from loguru import logger

    reasons: dict[str, list[str]] = {}
    for item in questions.left_out:
        reasons.setdefault(kind(item.reason), []).append(item.person)
    for reason, people in reasons.items():
        named = ", ".join(dict.fromkeys(people))
        logger.info(f"{questions.leaf.name}: {len(people)} left out, {reason}: {named[:200]}")
    if questions.lost:
        whole = questions.lost + len(questions.rows)
        logger.warning(
            f"{questions.leaf.name}: {questions.lost} of {whole} questions are lost; the score is of the rest."
        )
    if not questions.rows:
        logger.warning(f"{questions.leaf.name}: 0 questions; this leaf has no score.")


@ends_the_run
def to_text(doc: dict, lmms_eval_specific_kwargs: dict | None = None) -> str:
    """The official raw string with `<image>` placeholders."""
    if doc["person"] is None:
        return NOBODY
    return _benchmark(doc).prompts.raw(_question(doc), [question for _, question in _shots(doc)])


@ends_the_run
def to_visual(doc: dict, lmms_eval_specific_kwargs: dict | None = None) -> list[Image]:
    """RGB images in the order of the placeholders; [] for text questions."""
    if doc["modality"] != Modality.IMAGE:
        return []
    source = _benchmark(doc).source()
    person = source.by_id(doc["config"])[doc["person"]]
    shown = [source.image(shot) for shot, _ in _shots(doc)]
    return [*shown, source.image(person, doc["image_index"])]


@ends_the_run
def to_messages(doc: dict, lmms_eval_specific_kwargs: dict | None = None) -> list[dict]:
    """Chat messages with PIL images; a fresh list each time, since some backends change it."""
    if doc["person"] is None:
        return [{"role": "user", "content": [{"type": "text", "text": NOBODY}]}]
    return _benchmark(doc).prompts.messages(_question(doc), to_visual(doc), [question for _, question in _shots(doc)])


@ends_the_run
def to_target(doc: dict) -> str:
    return doc["gold"]


@ends_the_run
def score(doc: dict, results: Sequence[str]) -> dict:
    """One scored sample: flat, `score` first, then the metrics, then the facts."""
    if doc["person"] is None:
        return {FACTS: doc["leaf"]}
    task = _benchmark(doc).task(doc["task"])
    scored = scorers.score_answer(scorers.get(task.scorer), results[0], doc["gold"], _options(doc))
    return {
        **scored,
        **{key: doc[key] for key in COORDINATES},
        "question": doc["question"],
        "gold": doc["gold"],
        "options": doc["options"],
        BY_PERSON: {key: (scored | doc)[key] for key in ("score", "person", "answered", "leaf")},
        FACTS: doc["leaf"],
    }


@ends_the_run
def mean_by_person(items: Sequence[dict]) -> float:
    """Mean over questions; lmms-eval adds the standard error clustered by person to it."""
    if items:
        silent = sum(not item["answered"] for item in items)
        unanswered.note(registry.leaf_of(items[0]["leaf"]), silent, len(items))
    return sum(item["score"] for item in items) / len(items) if items else float("nan")


class Recorded:
    """A text for the results file alone: lmms-eval writes `str(value)` there, and prints no value of length 0."""

    def __init__(self, text: str) -> None:
        self.text = text

    def __str__(self) -> str:
        return self.text

    def __len__(self) -> int:
        return 0


@ends_the_run
def facts(items: Sequence[str]) -> Recorded:
    """What was asked, how and by whom it was answered, as JSON: thousands of characters, which would tear the table.

    configuration, generation: of the task file that this package ships; lmms-eval records those that were used.
    """
    leaf = registry.leaf_of(items[0])
    benchmark = registry.benchmark(leaf.benchmark)
    configuration, generation = task_config.shipped(leaf)
    known = {
        **benchmark.questions(leaf).facts(),
        "order": [known.name for known in benchmark.leaves()].index(leaf.name),
        "modalities": list(map(str, benchmark.modalities)),
        "metrics": scorers.get(benchmark.task(leaf.task).scorer).describe(),
        "scoring": SCORING,
        "configuration": configuration,
        "generation": generation,
        "answered_by": answerer.noted(),
    }
    return Recorded(json.dumps(known, ensure_ascii=False))


def _benchmark(doc: dict) -> Benchmark:
    return registry.benchmark(doc["benchmark"])


def _options(doc: dict) -> dict[str, str | None]:
    """letter -> text, {} if the question offers none."""
    return json.loads(doc["options"]) if doc["options"] else {}


def _question(doc: dict) -> Question:
    return Question(
        task=doc["task"],
        modality=Modality(doc["modality"]),
        index=doc["question_index"],
        slot=doc["slot"],
        text=doc["question"],
        gold=doc["gold"],
        stored_gold=doc["gold"],
        options=tuple(_options(doc).items()),
    )


def _shots(doc: dict) -> tuple[tuple, ...]:
    """(person, question) of each example in the prompt of a document."""
    if doc["shots"] == "[]":
        return ()
    return _shown(_benchmark(doc).source(), doc["shots"], doc["task"], Modality(doc["modality"]))


@functools.lru_cache(maxsize=256)
def _shown(source: Source, shots: str, task: str, modality: Modality) -> tuple[tuple, ...]:
    """The examples of a leaf, which every document of it names."""
    found = []
    for config, person_id, slot in json.loads(shots):
        person = source.by_id(config)[person_id]
        found.append((person, next(question for question in person.of(task, modality) if question.slot == slot)))
    return tuple(found)
