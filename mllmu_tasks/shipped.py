"""Files that lie at the top of a checkout and inside an installed package."""

from pathlib import Path


def shipped(name: str) -> Path:
    """The path of `name`: inside the installed package, or at the top of a source checkout."""
    installed = Path(__file__).parent / name
    return installed if installed.exists() else Path(__file__).parent.parent / name
