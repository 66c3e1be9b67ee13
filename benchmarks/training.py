"""Training: what our trainer costs above a bare loop, and what NPO and KL cost above gradient ascent.

    python benchmarks/training.py                # steps of 0.15 s and more
    python benchmarks/training.py --hidden 192   # the trainer's own work shows more in shorter ones

A LLaVA with random weights on the mini benchmark's forget and retain sets. All contestants are whole `mllmu unlearn`
runs that take turns in one process, ten steps each, so that what else the machine does falls on all alike; a ratio is
the median over these blocks of the quotient of two contestants' times: by the clock, and by the processor time of the
training thread, which other programs disturb less (it leaves out the thread that prepares batches ahead). `bare` is a
loop of forward, loss, backward, clip and step on the same batches, collated beforehand: what the trainer spends on
preparing data counts against the trainer.
"""

import argparse
import contextlib
import io
import statistics
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import NamedTuple

import torch
import torch.nn.functional as F
from transformers import TrainerCallback

from mllmu_tasks.benchmarks.mini.tiny import TinyShape, build_tiny_llava
from mllmu_tasks.data.source import open_source
from mllmu_unlearn import methods
from mllmu_unlearn.config.commands import UnlearnConfig, parse
from mllmu_unlearn.methods import Method, hyper
from mllmu_unlearn.methods.npo import NPO
from mllmu_unlearn.toolbox.forward import forward, frozen
from mllmu_unlearn.training import run
from mllmu_unlearn.training.trainer import MethodTrainer

SHAPE = TinyShape(hidden=256, layers=4, feed_forward=704, vision_hidden=128, vision_layers=4)
BLOCK = 10
BETA = 0.1


@methods.register
@dataclass
class NPOAlone(Method):
    """NPO without its retain side, to stand beside gradient ascent, which has none."""

    title, formula, paper = NPO.title, "-(2/beta) log sigmoid(-beta log(p/p_ref))(forget)", NPO.paper
    name = "npo_alone"
    sides = ("forget",)
    beta: float = hyper(BETA, "As in NPO.", "open-unlearning")
    gamma: float = hyper(1.0, "As in NPO.", "open-unlearning")
    references = NPO.references
    forget = NPO.forget


class Seconds(NamedTuple):
    clock: float
    processor: float


def now() -> Seconds:
    return Seconds(time.perf_counter(), time.thread_time())


class Turns:
    """Contestants, each in a thread, run `block` steps each in a fixed order; only one runs at any time."""

    def __init__(self, names: list[str], steps: int, block: int) -> None:
        self.names, self.steps, self.block = names, steps, block
        self.seconds: dict[str, list[Seconds]] = {name: [] for name in names}
        self.done = dict.fromkeys(names, 0)
        self.began: dict[str, Seconds] = {}
        self.changed = threading.Condition()
        self.ready: set[str] = set()
        self.turn = -1
        self.error: BaseException | None = None

    def next(self) -> None:
        """End a step (the first call: get ready), and after a block let the others run theirs."""
        name = threading.current_thread().name
        if name in self.began:
            self.done[name] += 1
            if self.done[name] % self.block:
                return
            pairs = zip(now(), self.began[name], strict=True)
            self.seconds[name].append(Seconds(*((end - begin) / self.block for end, begin in pairs)))
        with self.changed:
            if name in self.ready:
                self.turn += 1
            self.ready.add(name)
            self.changed.notify_all()
            if self.done[name] < self.steps:
                self.changed.wait_for(lambda: self.turn >= 0 and self.names[self.turn % len(self.names)] == name)
        self.began[name] = now()

    def race(self, contestant: Callable[[], None]) -> None:
        """Start them one after the other (seeds are global), then let them run. Raises what one of them raised."""

        def guarded() -> None:
            try:
                contestant()
            except BaseException as error:
                with self.changed:
                    self.error = error
                    self.changed.notify_all()

        threads = [threading.Thread(target=guarded, name=name, daemon=True) for name in self.names]
        with self.changed:
            for thread in threads:
                thread.start()
                self.changed.wait_for(lambda name=thread.name: self.error or name in self.ready)
            self.turn = 0
            self.changed.notify_all()
            self.changed.wait_for(lambda: self.error or all(done == self.steps for done in self.done.values()))
        if self.error:
            raise self.error
        for thread in threads:
            thread.join()


class TakesTurns(TrainerCallback):
    def __init__(self, turns: Turns) -> None:
        self.turns = turns

    def on_train_begin(self, args, state, control, **kwargs) -> None:
        self.turns.next()

    def on_step_end(self, args, state, control, **kwargs) -> None:
        self.turns.next()


def nll(logits: torch.Tensor, labels: torch.Tensor, reduction: str = "mean") -> torch.Tensor:
    return F.cross_entropy(logits.flatten(0, 1), labels.flatten(), ignore_index=-100, reduction=reduction)


def ascent(trainer: MethodTrainer, batch: dict) -> torch.Tensor:
    return -nll(forward(trainer.model, batch["forget"]), batch["forget"]["labels"])


def grad_diff(trainer: MethodTrainer, batch: dict) -> torch.Tensor:
    return ascent(trainer, batch) + nll(forward(trainer.model, batch["retain"]), batch["retain"]["labels"])


def npo(trainer: MethodTrainer, batch: dict) -> torch.Tensor:
    forget, retain = batch["forget"], batch["retain"]
    each = nll(forward(trainer.model, forget), forget["labels"], "none").view(forget["labels"].shape).sum(-1)
    ratio = -each - trainer.references["forget"].logprobs[forget["index"]]
    loss = -(2 / BETA) * F.logsigmoid(-BETA * ratio).mean()
    return loss + nll(forward(trainer.model, retain), retain["labels"])


def kl_min(trainer: MethodTrainer, batch: dict) -> torch.Tensor:
    model, retain = trainer.model, batch["retain"]
    scored = retain["labels"] != -100
    with frozen(model), model.disable_adapter():
        reference = forward(model, retain).log_softmax(-1)
    now = forward(model, retain).log_softmax(-1)
    divergence = (reference.exp() * (reference - now)).sum(-1)
    return ascent(trainer, batch) + (divergence * scored).sum() / scored.sum()


BARE = {"gradient_ascent": ascent, "grad_diff": grad_diff, "npo": npo, "kl_min": kl_min}


def bare_loop(trainer: MethodTrainer, loss: Callable, turns: Turns) -> None:
    def batches() -> Iterator[dict]:
        epoch = 0
        while True:
            trainer.schedule.set_epoch(epoch)
            yield from trainer.get_train_dataloader()
            epoch += 1

    collated = [batch for batch, _ in zip(batches(), range(turns.steps), strict=False)]
    model, args = trainer.model, trainer.args
    trained = [p for p in model.parameters() if p.requires_grad]
    optimizer = torch.optim.AdamW(trained, lr=args.learning_rate, fused=True)
    scheduler = torch.optim.lr_scheduler.LinearLR(optimizer, 1.0, 0.0, turns.steps)
    model.train()
    turns.next()
    for batch in collated:
        loss(trainer, batch).backward()
        torch.nn.utils.clip_grad_norm_(trained, args.max_grad_norm)
        optimizer.step()
        scheduler.step()
        optimizer.zero_grad()
        turns.next()


def measure(names: list[str], steps: int, batch: int, shape: TinyShape | None = None) -> dict[str, list[Seconds]]:
    """Mean seconds of a step in each block after the first, by contestant: a method, or `bare_` and a method."""
    turns = Turns(names, steps, BLOCK)
    source = open_source("mini")
    texts = [p.biography_text for p in source.people("Full_Set")]
    model, processor = build_tiny_llava(texts, shape=shape or SHAPE)
    fit, save = run._fit, run._save

    def in_turns(trainer: MethodTrainer, config: UnlearnConfig, resume: Path | None) -> None:
        name = threading.current_thread().name
        if name.startswith("bare_"):
            bare_loop(trainer, BARE[name.removeprefix("bare_")], turns)
        else:
            trainer.add_callback(TakesTurns(turns))
            fit(trainer, config, resume)

    with tempfile.TemporaryDirectory() as folder:
        start = f"{folder}/model"
        model.save_pretrained(start)
        processor.save_pretrained(start)

        def contestant() -> None:
            name = threading.current_thread().name
            flags = ["--method", name.removeprefix("bare_"), "--model_name_or_path", start, "--data", "mini"]
            flags += ["--forget_ratio", "15", "--output_dir", f"{folder}/runs/{name}", "--max_steps", str(steps)]
            flags += ["--per_device_train_batch_size", str(batch), "--save_strategy", "no", "--use_cpu"]
            flags += ["--disable_tqdm", "true"]
            run.unlearn(parse(UnlearnConfig, flags))

        run._fit, run._save = in_turns, lambda *_: None
        try:
            with contextlib.redirect_stdout(io.StringIO()):
                turns.race(contestant)
        finally:
            run._fit, run._save = fit, save
    return {name: seconds[1:] for name, seconds in turns.seconds.items()}


def ratio(seconds: dict[str, list[Seconds]], one: str, other: str) -> Seconds:
    """Medians over the blocks of the quotients, by the clock and by processor time."""
    pairs = list(zip(seconds[one], seconds[other], strict=True))
    return Seconds(*(statistics.median(a[kind] / b[kind] for a, b in pairs) for kind in range(2)))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--blocks", type=int, default=12, help="of ten steps each")
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--hidden", type=int, default=SHAPE.hidden, help="width of the language model")
    parser.add_argument("--threads", type=int, default=1, help="of the model's arithmetic")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    compared = [
        ("gradient_ascent", "bare_gradient_ascent"),
        ("npo", "bare_npo"),
        ("kl_min", "bare_kl_min"),
        ("npo_alone", "gradient_ascent"),
        ("npo", "grad_diff"),
        ("kl_min", "grad_diff"),
    ]
    names = list(dict.fromkeys(name for pair in compared for name in reversed(pair)))
    shape = replace(SHAPE, hidden=options.hidden, feed_forward=11 * options.hidden // 4)
    seconds = measure(names, (options.blocks + 1) * BLOCK, options.batch, shape)
    for name in names:
        middle = statistics.median(block.clock for block in seconds[name])
        print(f"{name:<22} {1000 * middle:6.1f} ms a step, {1 / middle:5.1f} steps a second")
    for one, other in compared:
        found = ratio(seconds, one, other)
        print(f"{one:<16} / {other:<22} {found.clock:.3f} by the clock, {found.processor:.3f} by processor time")


if __name__ == "__main__":
    main()
