"""Answers are written as they come, so that an interrupted evaluation goes on where it stopped."""

import hashlib
import json
from collections import OrderedDict
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from PIL import Image

REMEMBERED = 256


class Journal:
    """Answers of one run, one JSON line each, under a key of the request's content.

    folder: where journals are. identity: everything that decides answers beside the request.
    """

    def __init__(self, folder: Path, identity: Sequence[str]) -> None:
        self.identity = _digest(identity)
        self.file = folder / f"{self.identity[:24]}.jsonl"
        self.answers: dict[str, str] = {}
        self._pixels: OrderedDict[int, tuple[Image.Image, str]] = OrderedDict()
        if self.file.is_file():
            for line in self.file.read_text(encoding="utf-8", errors="replace").splitlines():
                try:
                    key, answer = json.loads(line)
                except ValueError:
                    continue  # the line that was being written when the run was killed
                self.answers[key] = answer
            # A torn last line without its end would swallow the next answer.
            lines = [json.dumps(item) + "\n" for item in self.answers.items()]
            self.file.write_text("".join(lines), encoding="utf-8")

    def key(self, text: str, images: Iterable[Image.Image], settings: dict[str, Any]) -> str:
        return _digest([text, json.dumps(settings, sort_keys=True, default=str), *map(self._pixel_hash, images)])

    def write(self, keys: Sequence[str], answers: Sequence[str]) -> None:
        """Append answers; on disk when this returns, as far as the system's cache goes."""
        self.file.parent.mkdir(parents=True, exist_ok=True)
        with self.file.open("a", encoding="utf-8") as out:
            out.writelines(json.dumps(pair) + "\n" for pair in zip(keys, answers, strict=True))
        self.answers.update(zip(keys, answers, strict=True))

    def close(self) -> None:
        """All is answered: the journal has done its work."""
        self.file.unlink(missing_ok=True)
        self.answers.clear()

    def _pixel_hash(self, image: Image.Image) -> str:
        known = self._pixels.get(id(image))
        if known is None or known[0] is not image:
            known = (image, _digest([image.mode, str(image.size), image.tobytes()]))
            self._pixels[id(image)] = known
            while len(self._pixels) > REMEMBERED:
                self._pixels.popitem(last=False)
        return known[1]


def _digest(parts: Iterable[str | bytes]) -> str:
    digest = hashlib.sha256()
    for part in parts:
        data = part.encode() if isinstance(part, str) else part
        digest.update(len(data).to_bytes(8, "little") + data)
    return digest.hexdigest()
