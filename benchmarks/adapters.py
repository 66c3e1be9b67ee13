"""Benchmark 5: eight adapters evaluated by one `mllmu eval` against eight runs of lmms-eval.

    python benchmarks/adapters.py

The bound: the process that evaluates all eight takes at most 1.15 times the sum of what the eight separate runs spent
answering (their starts, task loading and scoring not counted). `--hidden` and `--layers` make a random model for
which answers take longer than for the shipped one million parameters, as they do for real models.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import torch
from peft import LoraConfig, get_peft_model
from transformers import AutoModelForImageTextToText

from mllmu_tasks.artifacts.identity import weights_fingerprint
from mllmu_tasks.benchmarks.mini import checkpoint, tiny

TARGETS = r".*language_model\.layers\.\d+\.(self_attn\.(q|v)_proj|mlp\.(up|down)_proj)"


def make_base(home: Path, hidden: int, layers: int) -> Path:
    shape = tiny.TinyShape(hidden=hidden, layers=layers, heads=hidden // 32, feed_forward=2 * hidden)
    texts = json.loads((checkpoint("vanilla") / "tokenizer.json").read_text())["model"]["vocab"]
    model, processor = tiny.build_tiny_llava([" ".join(texts)], shape=shape)
    model.save_pretrained(home / "base")
    processor.save_pretrained(home / "base")
    return home / "base"


def make_adapters(base: Path, home: Path, count: int) -> list[Path]:
    """LoRA of rank 8 with small random weights."""
    folders = []
    record = {"name_or_path": str(base), "fingerprint": weights_fingerprint(str(base))}
    for number in range(count):
        wrapped = get_peft_model(AutoModelForImageTextToText.from_pretrained(base), LoraConfig(target_modules=TARGETS))
        draw = torch.Generator().manual_seed(number)
        with torch.no_grad():
            for parameter in (p for p in wrapped.parameters() if p.requires_grad):
                parameter.add_(0.01 * torch.randn(parameter.shape, generator=draw))
        folders.append(home / f"adapter_{number}")
        wrapped.save_pretrained(folders[-1])
        (folders[-1] / "unlearning.yaml").write_text(json.dumps({"kind": "lora", "base_model": record}))
    return folders


def run(command: list[str], environment: dict[str, str]) -> float:
    began = time.perf_counter()
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"{' '.join(command)}\n{done.stdout[-2000:]}{done.stderr[-2000:]}")
    return time.perf_counter() - began


def answering(folder: Path) -> float:
    """Seconds that a run spent answering questions, as it reported them."""
    (file,) = folder.rglob("*_results.json")
    return json.loads(file.read_text())["throughput"]["total_elapsed_time"]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--adapters", type=int, default=8)
    parser.add_argument("--tasks", default="mllmu_15")
    parser.add_argument("--hidden", type=int, default=0, help="0: the shipped vanilla model")
    parser.add_argument("--layers", type=int, default=8)
    options = parser.parse_args()
    home = Path(tempfile.mkdtemp())
    base = make_base(home, options.hidden, options.layers) if options.hidden else checkpoint("vanilla")
    adapters = make_adapters(base, home, options.adapters)
    environment = {**os.environ, "MLLMU_DATA": "mini", "HF_TOKEN": "", "MLLMU_CACHE": str(home / "alone_cache")}
    common = ["--tasks", options.tasks, "--batch_size", "auto"]
    separate = 0.0
    for adapter in adapters:
        arguments = ["--model", "mllmu_hf", "--model_args", f"pretrained={base},peft={adapter},dtype=float32", *common]
        out = ["--log_samples", "--output_path", str(home / "alone" / adapter.name)]
        separate += run([sys.executable, "-m", "lmms_eval", *arguments, *out], environment)
    arguments = ["--base", str(base), "--adapters", *map(str, adapters), "--model_args", "dtype=float32", *common]
    command = [sys.executable, "-m", "mllmu_unlearn.cli.main", "eval", *arguments]
    environment["MLLMU_CACHE"] = str(home / "together_cache")  # the answers of the separate runs are not to be found
    together = run([*command, "--output_path", str(home / "together")], environment)
    alone = sum(answering(home / "alone" / adapter.name) for adapter in adapters)
    within = sum(answering(home / "together" / adapter.name) for adapter in adapters)
    print(f"{len(adapters)} separate runs: {separate:.1f} s, of them {alone:.1f} s answering")
    print(f"one mllmu eval: {together:.1f} s, of them {within:.1f} s answering")
    print(f"one process / pure answering of the separate runs: {together / alone:.2f} (bound 1.15)")
    print(f"separate runs / one process: {separate / together:.1f} x")


if __name__ == "__main__":
    main()
