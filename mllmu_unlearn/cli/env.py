"""`mllmu env`: versions, devices and caches, to paste into a bug report; what differs from the tested versions."""

import os
import platform
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Annotated

import typer

from mllmu_tasks.benchmarks.mllmu.settings import Settings, cache_folder
from mllmu_tasks.versions import describe_moved, moved_packages, versions_tested

PACKAGES = (
    *("mllmu", "lmms-eval", "torch", "torchvision", "transformers", "accelerate", "peft", "datasets"),
    *("huggingface-hub", "safetensors", "pillow", "pyarrow", "rouge-score", "nltk", "decord"),
)


def add_to(app: typer.Typer) -> None:
    app.command("env", help="Print versions, devices, caches and their size.")(env)


def env(
    check: Annotated[
        bool, typer.Option("--check", help="Compare with the tested versions alone: exit 2 if one breaks a bound.")
    ] = False,
) -> None:
    if check:
        _check()
        return
    print(f"python      {platform.python_version()} on {platform.platform()}, {os.cpu_count()} cores")
    for package in PACKAGES:
        print(f"{package:<16}{_version(package)}")
    import torch

    if torch.cuda.is_available():
        for index in range(torch.cuda.device_count()):
            card = torch.cuda.get_device_properties(index)
            print(f"cuda:{index}          {card.name}, {card.total_memory / 2**30:.0f} GiB")
    elif torch.backends.mps.is_available():
        print("device          mps")
    else:
        print("device          cpu only")
    settings = Settings.from_environment()
    print(f"MLLMU_DATA      {settings.data}")
    print(f"MLLMU_SEED      {settings.seed}")
    print(f"MLLMU_SHOTS     {settings.shots[0]},{settings.shots[1]}")
    from huggingface_hub.constants import HF_HUB_CACHE

    for name, folder in {"MLLMU_CACHE": cache_folder(), "hub cache": Path(HF_HUB_CACHE)}.items():
        print(f"{name:<16}{folder} ({_size(folder)})")


def _check() -> None:
    """One line. A version that was not tested may work, so only one that a stated bound excludes ends with 2."""
    moved = moved_packages()
    if not moved:
        print(f"mllmu env: all of the {len(versions_tested())} tested packages that are installed are as tested")
        return
    remedy = "`pip install -c constraints.txt .` in a clone brings the tested ones"
    print(f"mllmu env: {describe_moved(moved)}; {remedy}")
    if not all(package.fits for package in moved):
        raise typer.Exit(2)


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "not installed"


def _size(folder: Path) -> str:
    if not folder.exists():
        return "not there yet"
    total = sum(f.lstat().st_size for f in folder.rglob("*") if not f.is_dir())
    return f"{total / 2**20:.1f} MiB"
