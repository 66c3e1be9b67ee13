"""One method of each kind in two processes: losses and result of one process at the same global batch.

Started by torchrun, once for all: accelerate's launcher would silently start one process on a CPU.
"""

import json
import subprocess
import sys
from pathlib import Path

import pytest
import two_processes
import yaml
from safetensors.torch import load_file
from tiny_models import save

from mllmu_unlearn.config.commands import UnlearnConfig, parse
from mllmu_unlearn.training import run

METHODS = {
    "npo": (),  # a reference of log-probabilities
    "kl_min": ("--keep_checkpoints",),  # a live reference
    "pdu": ("--epsilon", "0.1", "--dual_warmup", "0"),  # a state of its own
    "salun": ("--share", "0.05"),  # masked, sparse
    "mmunlearner": ("--modules", "language"),  # masked, dense, steps of two kinds
    "smfa": (),  # several adapters
    "manu": ("--percent", "10"),  # closed form
    "npo mllama": ("--train_sampling_strategy", "random", "--seed", "3"),  # batches of text use no cross attention
}
"""Flags by method, and family if that is not LLaVA."""


@pytest.fixture(scope="module")
def finished(checkpoint, texts, data, tmp_path_factory) -> Path:
    """A folder with METHOD-1 and METHOD-2 of every method."""
    folder = tmp_path_factory.mktemp("processes")
    mllama = save("mllama", folder / "mllama", texts, 3.0)

    def flags(method: str, processes: int) -> list[str]:
        base = mllama if "mllama" in method else checkpoint
        where = ["--model_name_or_path", str(base), "--data", str(data), "--forget_ratio", "5"]
        short = ["--max_steps", "4", "--lora_r", "2", "--lora_dropout", "0", "--learning_rate", "5e-3", "--use_cpu"]
        batch = ["--per_device_train_batch_size", str(4 // processes), "--logging_steps", "1", "--disable_tqdm", "true"]
        out = ["--output_dir", str(folder / f"{method}-{processes}"), "--save_strategy", "no"]
        return ["--method", method.split()[0], *where, *short, *batch, *out, *METHODS[method]]

    for method in METHODS:
        run.unlearn(parse(UnlearnConfig, flags(method, 1)))
    (folder / "flags.json").write_text(json.dumps([flags(method, 2) for method in METHODS]))
    launch = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2"]
    command = [*launch, two_processes.__file__, str(folder / "flags.json")]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
    assert ended.returncode == 0, ended.stderr[-3000:]
    return folder


@pytest.mark.parametrize("method", METHODS)
def test_two_processes_equal_one(method, finished):
    one, two = (finished / f"{method}-{n}" for n in (1, 2))
    first, second = (yaml.safe_load((folder / "unlearning.yaml").read_text()) for folder in (one, two))
    losses, others = first["training"]["losses"], second["training"]["losses"]
    assert losses.keys() == others.keys()
    assert bool(losses) == (method != "manu")
    for name, column in losses.items():
        assert [value is None for value in column] == [value is None for value in others[name]]
        numbers = [[value for value in values if value is not None] for values in (column, others[name])]
        assert numbers[0] == pytest.approx(numbers[1], rel=5e-4, abs=1e-4)
    (file,) = [path.name for path in one.glob("*.safetensors")]
    mine, theirs = load_file(one / file), load_file(two / file)
    assert mine.keys() == theirs.keys()
    for name, value in mine.items():
        apart = (value.float() - theirs[name].float()).abs()
        assert apart.mean() < 1e-5  # Adam turns a gradient of rounding errors alone into a whole step
        assert method == "mmunlearner" or apart.max() < 1e-5
