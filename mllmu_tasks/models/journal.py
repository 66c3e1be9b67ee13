"""Answers are written as they come, so that an interrupted evaluation goes on where it stopped."""

import hashlib
import json
from collections import Counter, OrderedDict
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from PIL import Image

from mllmu_tasks.errors import UserError

REMEMBERED = 64


class Journal:
    """The answers of one run, one JSON line each: [key of the request, answer].

    file: made on the first answer, removed by `close`. Several processes may append to one file.
    """

    def __init__(self, file: Path) -> None:
        self.file = file
        self.answers: dict[str, str] = {}
        self._torn = False
        if file.is_file():
            text = file.read_text(encoding="utf-8", errors="replace")
            self._torn = bool(text) and not text.endswith("\n")
            for line in text.splitlines():
                try:
                    key, answer = json.loads(line)
                except ValueError:
                    continue  # the line that was being written when the run was killed
                self.answers[key] = answer

    def write(self, keys: Sequence[str], answers: Sequence[str]) -> None:
        """Append answers; they survive the end of this process, however it ends. Raises UserError if it fails."""
        pairs = list(zip(keys, answers, strict=True))
        try:
            self.file.parent.mkdir(parents=True, exist_ok=True)
            with self.file.open("a", encoding="utf-8") as out:
                out.write("\n" * self._torn + "".join(json.dumps(pair) + "\n" for pair in pairs))
        except OSError as error:
            raise UserError(f"answers cannot be kept in {self.file} ({error}); set MLLMU_CACHE to a folder.") from error
        self._torn = False
        self.answers.update(pairs)

    def close(self) -> None:
        """All is answered: the journal has done its work."""
        self.file.unlink(missing_ok=True)


class ImageHashes:
    """sha256 of an image's pixels, remembered for the recent images: shots come again with every question."""

    def __init__(self) -> None:
        self._known: OrderedDict[int, tuple[Image.Image, str]] = OrderedDict()

    def __call__(self, image: Image.Image) -> str:
        known = self._known.get(id(image))
        if known is None or known[0] is not image:
            known = (image, digest([image.mode, str(image.size), image.tobytes()]))
            self._known[id(image)] = known
            if len(self._known) > REMEMBERED:
                self._known.popitem(last=False)
        self._known.move_to_end(id(image))
        return known[1]


def request_keys(contents: Iterable[tuple[str, Sequence[str], Mapping[str, Any]]]) -> list[str]:
    """A key per request from (text, image hashes, settings).

    Equal greedy requests are one request; sampled ones differ by how often they came before.
    """
    keys, seen = [], Counter()
    for text, images, settings in contents:
        key = digest([text, *images, json.dumps(settings, sort_keys=True, default=str)])
        if settings.get("do_sample"):
            seen[key] += 1
            key = f"{key}-{seen[key]}"
        keys.append(key)
    return keys


def digest(parts: Iterable[str | bytes]) -> str:
    """sha256 hex of the parts, each with its length."""
    sha = hashlib.sha256()
    for part in parts:
        data = part.encode() if isinstance(part, str) else part
        sha.update(len(data).to_bytes(8, "little") + data)
    return sha.hexdigest()
