"""Run stages (subprocesses) in dependency order; finished ones are stamped and reused by the next run."""

import json
import os
import shutil
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from mllmu_tasks.artifacts.folders import write_whole
from mllmu_tasks.artifacts.identity import text_hash
from mllmu_tasks.errors import UserError
from mllmu_tasks.versions import say_moved
from mllmu_unlearn.experiments import processes
from mllmu_unlearn.experiments.last_words import exception_of, last_words

POLL_SECONDS = 0.2


@dataclass(frozen=True)
class Stage:
    """One command and the folder it makes.

    identity: what else decides the outcome (file hashes, versions); a change makes the stage run again.
    check: raises UserError if the output is not what it should be; a command's exit code alone is not
    trusted, since lmms-eval ends with 0 even when its run failed.
    """

    name: str
    command: tuple[str, ...]
    output: Path
    needs: tuple[str, ...] = ()
    identity: str = ""
    environment: Mapping[str, str] = field(default_factory=dict)
    check: Callable[[], None] = lambda: None


class Display(Protocol):
    """What the runner tells about its progress."""

    def start(self, stage: Stage, log: Path) -> None: ...
    def finish(self, stage: Stage, seconds: float, reused: bool) -> None: ...
    def fail(self, stage: Stage, reason: str) -> None: ...


class Runner:
    """Runs stages, at most `workers` at a time, with stamps and logs under `home`.

    keep_going: a stage that fails is noted in `failed` with its reason, what needs it is left out, the rest runs.
    places: an environment for each worker (such as the GPU it may use), part of no stage's identity.
    """

    def __init__(
        self,
        stages: Sequence[Stage],
        home: Path,
        display: Display,
        workers: int = 1,
        *,
        keep_going: bool = False,
        places: Sequence[Mapping[str, str]] = (),
    ) -> None:
        self.stages = {stage.name: stage for stage in stages}
        self.home = home
        self.display = display
        self.workers = workers
        self.keys: dict[str, str] = {}
        self.seconds: dict[str, float] = {}
        self.running: dict[str, tuple[subprocess.Popen, float]] = {}
        self.keep_going = keep_going
        self.failed: dict[str, str] = {}
        self.free = list(places or [{}] * workers)
        self.taken: dict[str, Mapping[str, str]] = {}

    def finished(self) -> set[str]:
        """Names of the stages that `run` would not run again; runs nothing, and expects needs before needers."""
        keys, self.keys, done = self.keys, {}, set()
        for name, stage in self.stages.items():
            if set(stage.needs) <= done and self._read_stamp(stage) is not None:
                done.add(name)
            self.keys[name] = self._key(stage)
        self.keys = keys
        return done

    def run(self) -> dict[str, float]:
        """Seconds every stage took when it ran. Raises UserError if a stage fails; Ctrl-C passes through."""
        waiting = list(self.stages)
        try:
            while waiting or self.running:
                for name in list(waiting):
                    lost = [need for need in self.stages[name].needs if need in self.failed]
                    if lost:
                        waiting.remove(name)
                        self.failed[name] = f"needs {lost[0]}"
                    elif len(self.running) < self.workers and set(self.stages[name].needs) <= set(self.keys):
                        waiting.remove(name)
                        self._begin(self.stages[name])
                self._collect()
                if self.running:
                    time.sleep(POLL_SECONDS)
        finally:
            self._end_all()
        return self.seconds

    def _begin(self, stage: Stage) -> None:
        stamp = self._read_stamp(stage)
        if stamp is not None:
            self.keys[stage.name] = self._key(stage)
            self.seconds[stage.name] = stamp["seconds"]
            self.display.finish(stage, stamp["seconds"], reused=True)
            return
        if stage.output.exists():
            shutil.rmtree(stage.output)  # left by a run that did not finish, or made from other inputs
        log = self.log(stage)
        log.parent.mkdir(parents=True, exist_ok=True)
        with log.open("wb") as out:
            process = processes.start(
                stage.command,
                stdout=out,
                stderr=subprocess.STDOUT,
                stdin=subprocess.DEVNULL,
                env={**os.environ, **self._place(stage), **stage.environment},
            )
        self.running[stage.name] = (process, time.monotonic())
        self.display.start(stage, log)

    def _collect(self) -> None:
        for name, (process, began) in list(self.running.items()):
            code = process.poll()
            if code is None:
                continue
            del self.running[name]
            self.free.append(self.taken.pop(name))
            stage = self.stages[name]
            try:
                self._check(stage, code)
            except UserError as error:
                if not self.failed:
                    say_moved()
                if not self.keep_going:
                    raise
                self.failed[name] = str(error)
                self.display.fail(stage, str(error))
                continue
            seconds = time.monotonic() - began
            self.keys[name] = self._key(stage)
            self.seconds[name] = seconds
            write_whole(self._stamp(stage), json.dumps({"key": self.keys[name], "seconds": seconds}))
            self.display.finish(stage, seconds, reused=False)

    def _check(self, stage: Stage, code: int) -> None:
        log = self.log(stage)
        if code != 0:
            raise UserError(f"stage '{stage.name}' failed (exit code {code}): {last_words(log)} (log: {log})")
        try:
            stage.check()
        except UserError as error:
            why = exception_of(log) or str(error)  # lmms-eval leaves with 0 behind a stack trace
            raise UserError(f"stage '{stage.name}' left no result: {why} (log: {log})") from error

    def _place(self, stage: Stage) -> Mapping[str, str]:
        self.taken[stage.name] = self.free.pop()
        return self.taken[stage.name]

    def log(self, stage: Stage) -> Path:
        return self.home / "logs" / f"{stage.name}.log"

    def _stamp(self, stage: Stage) -> Path:
        return self.home / "stages" / f"{stage.name}.json"

    def _key(self, stage: Stage) -> str:
        parts = [*stage.command, stage.identity, *sorted(map("=".join, stage.environment.items()))]
        parts += [self.keys[name] for name in stage.needs]
        return text_hash("\0".join(parts))

    def _read_stamp(self, stage: Stage) -> dict | None:
        try:
            stamp = json.loads(self._stamp(stage).read_text(encoding="utf-8"))
        except (FileNotFoundError, ValueError):
            return None
        return stamp if stamp.get("key") == self._key(stage) and stage.output.exists() else None

    def _end_all(self) -> None:
        processes.end([process for process, _ in self.running.values()])
        self.running.clear()
