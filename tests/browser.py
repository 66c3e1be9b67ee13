"""A real browser without a window: what a page becomes in it, and what it looks like."""

import io
import shutil
import subprocess
import tempfile
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

NAMES = ("chromium", "chromium-browser", "google-chrome-stable", "google-chrome")
FLAGS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-dev-shm-usage",
    "--hide-scrollbars",
)


def executable() -> str:
    """The browser's path; the test fails where there is none, since nothing else shows what a page does."""
    found = next(filter(None, map(shutil.which, NAMES)), None)
    if not found:
        pytest.fail("the report is tested in a browser: install one, e.g. `apt-get install chromium`")
    return found


def _run(*arguments: str) -> bytes:
    with tempfile.TemporaryDirectory(prefix="browser-") as profile:
        command = [executable(), *FLAGS, f"--user-data-dir={profile}", *arguments]
        return subprocess.run(command, capture_output=True, timeout=120, check=True).stdout


def dom(page: Path, *flags: str) -> str:
    """The document after loading, scripts included, as HTML."""
    return _run(*flags, "--dump-dom", page.as_uri()).decode()


def screenshot(page: Path, width: int, height: int, *, dark: bool = False) -> np.ndarray:
    """(height, width, 3) uint8."""
    with tempfile.TemporaryDirectory(prefix="screenshot-") as folder:
        file = Path(folder) / "page.png"
        scheme = ["--blink-settings=preferredColorScheme=0"] if dark else []
        _run(*scheme, f"--window-size={width},{height}", f"--screenshot={file}", page.as_uri())
        return np.asarray(Image.open(io.BytesIO(file.read_bytes())).convert("RGB"))


class Elements(HTMLParser):
    """All elements of a document as (tag, attributes), and its text."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.text += data
