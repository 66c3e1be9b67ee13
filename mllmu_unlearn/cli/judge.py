"""`mllmu judge`: the factuality of logged generation answers, 1 to 10, by a language model."""

import asyncio
import math
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from mllmu_tasks.errors import UserError

if TYPE_CHECKING:
    from mllmu_tasks.results.runs import Run
    from mllmu_tasks.scorers.judge.cache import GradeCache
    from mllmu_tasks.scorers.judge.client import ChatClient
    from mllmu_tasks.scorers.judge.judging import Plan

OPENAI = "https://api.openai.com/v1"


def add_to(app: typer.Typer) -> None:
    app.command("judge", help="Factuality of logged answers, 1 to 10, by a language model; exit 2 if not all.")(judge)


def judge(
    folders: Annotated[list[Path], typer.Argument(help="Output folders or *_results.json files of lmms-eval.")],
    model: Annotated[str, typer.Option(help="The judge.")] = "gpt-4o-mini",
    base_url: Annotated[
        str, typer.Option("--base_url", "--base-url", help="A server with OpenAI's chat completions.")
    ] = OPENAI,
    key_env: Annotated[
        str, typer.Option("--key_env", "--key-env", help="Environment variable with the key; '' sends none.")
    ] = "OPENAI_API_KEY",
    concurrency: Annotated[int, typer.Option(help="Calls at a time.", min=1, max=1000)] = 8,
    timeout: Annotated[float, typer.Option(help="Seconds for one call.", min=0.001, max=86400)] = 60.0,
    retries: Annotated[int, typer.Option(help="Of a call whose server fails.", min=0, max=1000)] = 6,
    dry_run: Annotated[bool, typer.Option("--dry_run", "--dry-run", help="Print calls and tokens; stop.")] = False,
) -> None:
    from mllmu_tasks.benchmarks.mllmu.settings import cache_folder
    from mllmu_tasks.results.judged import to_judge
    from mllmu_tasks.results.rescoring import open_runs
    from mllmu_tasks.scorers.judge.cache import GradeCache
    from mllmu_tasks.scorers.judge.client import ChatClient, fit_for_a_terminal
    from mllmu_tasks.scorers.judge.judging import make_plan

    if not math.isfinite(timeout):
        raise UserError(f"--timeout {timeout} is no number of seconds.")
    key = os.environ.get(key_env) if key_env else None
    client = ChatClient(base_url, model, key, timeout=timeout, retries=retries)
    cache = GradeCache(cache_folder() / "judge", model, client.base_url)
    runs = open_runs(folders)
    plan = make_plan(to_judge(runs), cache)
    calls, prompts, replies = plan.estimate()
    print(
        f"{plan.answers} answers, {len(plan.asked)} of them different, {len(plan.outcomes)} judged before; "
        f"{calls} calls to {fit_for_a_terminal(model)} at {client.base_url}, about {prompts:,} tokens of prompts "
        f"and at most {replies:,} of replies, {f'with the key in {key_env}' if client.sends_key else 'without a key'}",
        flush=True,
    )
    if dry_run:
        return
    if calls and not client.sends_key and client.base_url == OPENAI:
        # Not the variable's name: it may be a key that was given in its place.
        raise UserError(f"{OPENAI} needs a key; set the environment variable that --key_env names, or --base_url.")
    if calls:
        _ask(plan, client, cache, concurrency)
    raise typer.Exit(_report(runs, plan, client, cache))


def _ask(plan: "Plan", client: "ChatClient", cache: "GradeCache", concurrency: int) -> None:
    from rich.console import Console
    from rich.progress import Progress

    from mllmu_tasks.scorers.judge.judging import Status, carry_out

    console = Console(stderr=True)
    before = plan.count(Status.JUDGED)
    try:
        with Progress(console=console, disable=not console.is_terminal) as progress:
            bar = progress.add_task("judging", total=len(plan.open))
            asyncio.run(carry_out(plan, client, cache, concurrency, done=lambda: progress.advance(bar)))
    except KeyboardInterrupt:
        print(
            f"\nmllmu: stopped. {plan.count(Status.JUDGED) - before} answers were judged and are kept; "
            "the same command goes on from there.",
            file=sys.stderr,
        )
        raise typer.Exit(130) from None


def _report(runs: list["Run"], plan: "Plan", client: "ChatClient", cache: "GradeCache") -> int:
    """Write and print; returns the exit code: 0 if every answer was judged, else 2."""
    from mllmu_tasks.results import judged
    from mllmu_tasks.scorers.judge.client import fit_for_a_terminal
    from mllmu_tasks.scorers.judge.judging import Status

    if not plan.count(Status.JUDGED):
        first = next(iter(plan.outcomes.values()))
        words = fit_for_a_terminal(first.words)
        raise UserError(f"no answer was judged and nothing is written; the first one: {first.status} ({words}).")
    for run in runs:
        pairs = judged.graded(run, plan, cache)
        if not pairs:
            continue
        file = judged.write(run, pairs, client)
        print(judged.table(run, pairs), end="")
        for reason, count in judged.reasons(pairs).items():
            print(f"{count} failed: {reason}", file=sys.stderr)
        print(fit_for_a_terminal(f"written to {file}"))
    if client.requests:
        tokens = f"{plan.prompt_tokens:,} + {plan.completion_tokens:,} tokens"
        print(f"{client.requests} requests, {tokens} by the server's count")
    unparsed, failed = plan.count(Status.UNPARSED), plan.count(Status.FAILED)
    if unparsed or failed:
        print(
            f"not complete: {unparsed} replies without a grade after two attempts, {failed} calls failed; the means "
            "leave these answers out. The same command asks for them again.",
            file=sys.stderr,
        )
        return 2
    return 0
