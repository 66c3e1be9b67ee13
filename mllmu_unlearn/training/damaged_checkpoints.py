"""Whether a checkpoint's files can be read to their ends: a full disk, a quota or a power cut leave parts of files."""

import json
import zipfile
import zlib
from pathlib import Path

from safetensors import SafetensorError, safe_open

NEEDED = ("trainer_state.json", "method_state.pt", "optimizer.pt", "scheduler.pt")
"""Beside weights and random states. Without the middle two, the Trainer would begin them anew and say nothing."""


def damage(checkpoint: Path) -> str | None:
    """What is wrong with a checkpoint, `optimizer.pt is cut off` for example; None if nothing is.

    Reads every file once. A run spread over processes (DeepSpeed, FSDP) keeps its states in folders of their own.
    """
    files = sorted(file for file in checkpoint.rglob("*") if file.is_file())
    spread = any(path.is_dir() for path in checkpoint.iterdir())
    needed = NEEDED[:2] if spread else NEEDED
    missing = [name for name in needed if not (checkpoint / name).is_file()]
    if not spread and not any(file.suffix == ".safetensors" for file in files):
        missing.append("a file of weights")
    if missing:
        return f"{missing[0]} is missing"
    return next((f"{file.name} {problem}" for file in files if (problem := _problem(file))), None)


def _problem(file: Path) -> str | None:
    """Of one file of a checkpoint; None too for kinds that nothing is known of."""
    if not file.stat().st_size:
        return "is empty"
    try:
        if file.suffix == ".json" and not isinstance(json.loads(file.read_text(encoding="utf-8")), dict | list):
            return "is no record"
        if file.suffix == ".safetensors":
            with safe_open(file, framework="pt"):
                return None
        if file.suffix in (".pt", ".pth"):
            with zipfile.ZipFile(file) as archive:
                return "is damaged" if archive.testzip() else None
    except (OSError, ValueError, RecursionError, SafetensorError, zipfile.BadZipFile, zlib.error, NotImplementedError):
        return "is damaged"
    return None
