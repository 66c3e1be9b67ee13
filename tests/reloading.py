"""A process that opens what was written with plain Transformers and PEFT, for as many folders as it is asked for.

As a script: reads JSON lines {"base", "folder", "kind", "inputs", "answer"}; runs the model on the inputs; writes
the logits of the folder, of the folder with its adapter disabled, and of the base model.
"""

import json
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file


class Elsewhere:
    """The other process."""

    def __init__(self) -> None:
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
        self.process = subprocess.Popen([sys.executable, __file__], text=True, **pipes)

    def open(self, base: Path, folder: Path, kind: str, inputs: Mapping[str, torch.Tensor], where: Path) -> dict:
        """{"logits", "off", "base"} as the other process computes them; `off` only for adapters."""
        where.mkdir(parents=True)
        save_file({key: value.contiguous() for key, value in inputs.items()}, where / "inputs.safetensors")
        question = {"base": str(base), "folder": str(folder), "kind": kind, "where": str(where)}
        self.process.stdin.write(json.dumps(question) + "\n")
        self.process.stdin.flush()
        assert self.process.stdout.readline() == "done\n", "the reloading process failed; see its stderr"
        return load_file(where / "logits.safetensors")

    def close(self) -> None:
        self.process.stdin.close()
        self.process.wait(30)


def _answer(base: str, folder: str, kind: str, where: str) -> None:
    from peft import PeftModel
    from transformers import AutoModelForImageTextToText, AutoProcessor

    inputs = load_file(Path(where) / "inputs.safetensors")

    def logits(model):
        with torch.no_grad():
            return model.eval()(**inputs).logits

    model = AutoModelForImageTextToText.from_pretrained(base)
    made = {"base": logits(model)}
    if kind == "full":
        made["logits"] = logits(AutoModelForImageTextToText.from_pretrained(folder))
    else:
        model = PeftModel.from_pretrained(model, folder)
        made["logits"] = logits(model)
        with model.disable_adapter():
            made["off"] = logits(model)
    AutoProcessor.from_pretrained(folder)
    assert not [name for name in sys.modules if name.startswith("mllmu")]
    save_file({key: value.contiguous() for key, value in made.items()}, Path(where) / "logits.safetensors")


if __name__ == "__main__":
    torch.set_num_threads(1)
    for line in sys.stdin:
        _answer(**json.loads(line))
        print("done", flush=True)
