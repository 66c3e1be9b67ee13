"""Logged answers -> grades: what is known already, what has to be asked, and the asking."""

import asyncio
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum

from mllmu_tasks.benchmarks.mllmu.spec import Task
from mllmu_tasks.errors import UserError
from mllmu_tasks.results.runs import Run, Sample
from mllmu_tasks.scorers.judge.cache import Grade, GradeCache
from mllmu_tasks.scorers.judge.client import CallFailed, ChatClient
from mllmu_tasks.scorers.judge.reply import parse_score
from mllmu_tasks.scorers.judge.rubric import MAX_TOKENS, about_tokens, messages

GIVE_UP = 5  # calls in a row that fail for good; the server is then left alone


class Status(StrEnum):
    JUDGED = "judged"
    UNPARSED = "unparsed"  # twice a reply without a whole number from 1 to 10
    FAILED = "failed"  # no reply


@dataclass(frozen=True)
class Outcome:
    """What came of one answer. score: 1..10 if judged, else None. words: the reply, or why there is none."""

    status: Status
    score: int | None
    words: str
    answered_by: str = ""


@dataclass(frozen=True)
class Asked:
    """One question to the judge; equal answers to equal questions are one."""

    question: str
    gold: str
    answer: str


@dataclass
class Plan:
    """Everything to be judged. outcomes grows from what the cache knows to all of it."""

    asked: dict[str, Asked]
    outcomes: dict[str, Outcome]
    answers: int
    prompt_tokens: int = 0
    completion_tokens: int = 0

    @property
    def open(self) -> list[str]:
        return [key for key in self.asked if key not in self.outcomes]

    def count(self, status: Status) -> int:
        return sum(outcome.status is status for outcome in self.outcomes.values())

    def estimate(self) -> tuple[int, int, int]:
        """(calls, about so many prompt tokens, at most so many tokens of replies), without what is asked twice."""
        todo = [self.asked[key] for key in self.open]
        return len(todo), sum(about_tokens(a.question, a.gold, a.answer) for a in todo), MAX_TOKENS * len(todo)


def generation_samples(run: Run) -> Iterator[Sample]:
    return (sample for sample in run.samples if sample.leaf.task == Task.GENERATION)


def asked(sample: Sample) -> Asked:
    return Asked(sample.question, sample.gold, sample.prediction)


def make_plan(runs: Sequence[Run], cache: GradeCache) -> Plan:
    """What the generation samples of the runs need. Raises UserError if there are none or they lack the question."""
    every: dict[str, Asked] = {}
    answers = 0
    for run in runs:
        for sample in generation_samples(run):
            if not sample.question:
                raise UserError(f"the samples of '{run.file}' do not hold their questions; evaluate the model again.")
            item = asked(sample)
            every[cache.key(item.question, item.gold, item.answer)] = item
            answers += 1
    if not every:
        raise UserError("there are no generation answers in these results; evaluate tasks such as mllmu_forget.")
    known = {key: grade for key in every if (grade := cache.get(key))}
    return Plan(every, {key: _judged(grade) for key, grade in known.items()}, answers)


async def carry_out(
    plan: Plan, client: ChatClient, cache: GradeCache, concurrency: int, done: Callable[[], None] = lambda: None
) -> None:
    """Ask for all that is open, `concurrency` calls at a time; each grade is on disk before the next is asked.

    After GIVE_UP failures in a row the rest fails unasked: a server that is down would take hours to say so for each.
    Raises UserError if no call can work (key, address, credit).
    """
    patience = _Patience()
    todo = iter(plan.open)
    async with client:
        workers = [asyncio.create_task(_work(todo, plan, client, cache, patience, done)) for _ in range(concurrency)]
        try:
            await asyncio.gather(*workers)
        finally:
            for worker in workers:
                worker.cancel()
            await asyncio.gather(*workers, return_exceptions=True)
    for key in plan.open:
        plan.outcomes[key] = Outcome(Status.FAILED, None, f"not asked: {patience.over}")


async def _work(
    todo: Iterable[str], plan: Plan, client: ChatClient, cache: GradeCache, patience: "_Patience", done: Callable
) -> None:
    for key in todo:
        if patience.over:
            return
        try:
            plan.outcomes[key] = await _grade(plan, key, client, cache)
            patience.worked()
        except CallFailed as failure:
            plan.outcomes[key] = Outcome(Status.FAILED, None, str(failure))
            patience.failed(failure)
        done()


async def _grade(plan: Plan, key: str, client: ChatClient, cache: GradeCache) -> Outcome:
    item = plan.asked[key]
    request = messages(item.question, item.gold, item.answer)
    for _ in range(2):
        reply = await client.ask(request)
        plan.prompt_tokens += reply.prompt_tokens
        plan.completion_tokens += reply.completion_tokens
        score, words = parse_score(reply.text), client.without_key(reply.text)
        if score is not None:
            grade = Grade(score, words, reply.model)
            cache.put(key, grade)
            return _judged(grade)
    return Outcome(Status.UNPARSED, None, words, reply.model)


def _judged(grade: Grade) -> Outcome:
    return Outcome(Status.JUDGED, grade.score, grade.reply, grade.answered_by)


class _Patience:
    """Counts failures in a row. A refused question is no outage, unless nothing else was ever answered."""

    def __init__(self) -> None:
        self.over = ""
        self._in_a_row = 0
        self._answered = False

    def worked(self) -> None:
        self._in_a_row, self._answered = 0, True

    def failed(self, failure: CallFailed) -> None:
        if failure.outage or not self._answered:
            self._in_a_row += 1
        else:
            self._in_a_row = 0
        if self._in_a_row >= GIVE_UP:
            self.over = f"{self._in_a_row} calls in a row failed, the last with: {failure}"
