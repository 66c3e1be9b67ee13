"""Benchmark 1: `mllmu_hf` against the loop of the official script, on the whole mini benchmark.

    python benchmarks/evaluation.py

Both answer every question of mllmu_15 with the shipped vanilla model; their answers must be scored alike. Each pair
is measured one after the other in one process; the ratio is that of the medians.
"""

import argparse
import os
import statistics
import tempfile
import time

os.environ.setdefault("MLLMU_DATA", "mini")
os.environ["MLLMU_CACHE"] = tempfile.mkdtemp()

import torch
from loguru import logger
from plain_loop import PlainLoop, differences, requests_of
from transformers import AutoModelForImageTextToText, AutoProcessor

from mllmu_tasks.benchmarks.mini import checkpoint
from mllmu_tasks.harness.hf import MllmuHf


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default=str(checkpoint("vanilla")))
    parser.add_argument("--ratio", type=int, default=15)
    parser.add_argument("--pairs", type=int, default=3)
    parser.add_argument("--batch_size", default="auto")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--device", default="cpu")
    options = parser.parse_args()
    logger.remove()
    torch.set_num_threads(options.threads)
    requests, documents = requests_of(options.ratio)
    device = torch.device(options.device)
    model = AutoModelForImageTextToText.from_pretrained(options.model).to(device).eval()
    processor = AutoProcessor.from_pretrained(options.model)
    loops, engines = [], []
    for pair in range(options.pairs):
        loop = PlainLoop(model, processor, device)
        seconds, theirs = _timed(lambda run=loop: run.answer(requests, documents))
        loops.append(seconds)
        ours = MllmuHf(options.model, device=options.device, batch_size=options.batch_size)  # nothing cached yet
        ours.task_dict = documents
        seconds, answers = _timed(lambda run=ours: run.generate_until(requests))
        engines.append(seconds)
        differ = differences(requests, documents, answers, theirs)
        print(f"pair {pair + 1}: loop {loops[-1]:.1f} s, mllmu_hf {seconds:.1f} s, {len(differ)} answers differ")
        print(*differ[:10], sep="\n")
    ratio = statistics.median(loops) / statistics.median(engines)
    print(f"{len(requests)} questions, {options.threads} threads on {options.device}")
    print(f"loop: {loop.prefilled} tokens prefilled, {loop.decoded} decoded, {loop.images} images encoded")
    print(f"mllmu_hf: {ours.engine.counts}")
    print(f"medians: loop {statistics.median(loops):.1f} s, mllmu_hf {statistics.median(engines):.1f} s: {ratio:.1f} x")


def _timed(action):
    began = time.perf_counter()
    result = action()
    return time.perf_counter() - began, result


if __name__ == "__main__":
    main()
