"""Progress of many stages: bars on a terminal, one line a stage elsewhere."""

from pathlib import Path

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn
from rich.text import Text

from mllmu_tasks.text_safety import one_line
from mllmu_unlearn.experiments.runner import Stage


class Bars:
    """Bars on a terminal, one line a stage elsewhere."""

    def __init__(self, console: Console, stages: int) -> None:
        self.console = console
        self.total = stages
        self.done = 0
        self.bars: dict[str, int] = {}
        self.progress = Progress(
            SpinnerColumn(),
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            console=console,
            disable=not console.is_terminal,
        )

    def __enter__(self) -> "Bars":
        self.progress.start()
        self.overall = self.progress.add_task("stages", total=self.total)
        return self

    def __exit__(self, *_: object) -> None:
        self.progress.stop()

    def start(self, stage: Stage, log: Path) -> None:
        if self.console.is_terminal:
            self.bars[stage.name] = self.progress.add_task(f"{stage.name} [dim]{escape(one_line(str(log)))}", total=1)
        else:
            print(f"started   {stage.name}: {one_line(f'{stage.output} (log {log})')}", flush=True)

    def finish(self, stage: Stage, seconds: float, reused: bool) -> None:
        self.done += 1
        self.progress.advance(self.overall)
        if stage.name in self.bars:
            self.progress.remove_task(self.bars.pop(stage.name))
        how = "reused   " if reused else "finished "
        self.progress.console.print(f"{how} {stage.name} ({seconds:.0f} s) {self.done}/{self.total}", highlight=False)

    def fail(self, stage: Stage, reason: str) -> None:
        self.done += 1
        self.progress.advance(self.overall)
        if stage.name in self.bars:
            self.progress.remove_task(self.bars.pop(stage.name))
        line = f"failed    {stage.name}: {one_line(reason)} {self.done}/{self.total}"
        self.progress.console.print(Text(line))
