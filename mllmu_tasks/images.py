"""Encoded images stay in Arrow memory, one column a config; a picture is decoded when a question shows it."""

import io
import threading
from bisect import bisect_left
from collections import OrderedDict
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image, ImageFile

from mllmu_tasks.errors import UserError

DECODED = 64
"""Decoded pictures kept, the least recently used ones go first: 64 of 512 x 512 are 48 MiB."""

STRICT = threading.RLock()
UNREADABLE = (OSError, SyntaxError, ValueError, Image.DecompressionBombError)
"""What Pillow raises for bytes that are no image, or not a whole one."""


class ImageStore:
    """Images of one config, by row. Thread-safe.

    files: the config's parquet files in row order. column: `image` (one) or `images` (a list).
    """

    def __init__(self, config: str, files: Iterable[Path], column: str) -> None:
        self.config = config
        self.column = column
        self.files = list(files)
        self.lock = threading.RLock()
        self.wanted: set[int] | None = set()
        self.rows: dict[int, pa.Scalar] = {}
        self.decoded: OrderedDict[tuple[int, int], Image.Image] = OrderedDict()
        self.problems: dict[tuple[int, int, bool], str | None] = {}

    def want(self, rows: Iterable[int]) -> None:
        """Announce rows before the first one is read, so that one pass over the files finds them all."""
        with self.lock:
            self.wanted.update(rows)

    def count(self, row: int) -> int:
        """How many images a row holds."""
        return len(self._stored(row))

    def encoded(self, row: int, index: int) -> bytes:
        """The bytes as stored. Raises UserError if there are none."""
        images = self._stored(row)
        if not 0 <= index < len(images):
            raise UserError(f"{self.config}, row {row}: image {index} of {len(images)} does not exist.")
        entry = images[index].as_py()
        data = entry.get("bytes") if isinstance(entry, dict) else entry
        if not isinstance(data, bytes) or not data:
            raise UserError(f"{self.config}, row {row}: image {index} holds no bytes.")
        return data

    def picture(self, row: int, index: int) -> Image.Image:
        """The image as RGB, converted as the official code does. Raises UserError if it does not decode."""
        key = (row, index)
        with self.lock:
            if key in self.decoded:
                self.decoded.move_to_end(key)
                return self.decoded[key]
        data = self.encoded(row, index)
        try:
            with _strict():
                picture = Image.open(io.BytesIO(data)).convert("RGB")
        except UNREADABLE as error:
            raise UserError(f"{self.config}, row {row}: image {index} is unreadable ({_reason(error)}).") from error
        with self.lock:
            self.decoded[key] = picture
            while len(self.decoded) > DECODED:
                self.decoded.popitem(last=False)
        return picture

    def problem(self, row: int, index: int, *, decode: bool = False) -> str | None:
        """Why an image cannot be read, or None; looked at once.

        Without `decode`, a PNG's checksums and a JPEG's end are enough, which costs a tenth of decoding.
        """
        key = (row, index, decode)
        if key not in self.problems:
            self.problems[key] = self._look(row, index, decode)
        return self.problems[key]

    def _look(self, row: int, index: int, decode: bool) -> str | None:
        try:
            data = self.encoded(row, index)
            with _strict():
                picture = Image.open(io.BytesIO(data))
                if not decode and picture.format == "PNG":
                    picture.verify()
                elif decode or picture.format != "JPEG" or not _ends(data):
                    picture.load()
        except UserError as error:
            return str(error)
        except UNREADABLE as error:
            return f"unreadable image ({_reason(error)})"
        return None

    def _stored(self, row: int) -> list:
        with self.lock:
            if row not in self.rows:
                self.wanted.add(row)
                self._read(sorted(self.wanted - set(self.rows)))
            value = self.rows[row]
        if not value.is_valid:
            return []
        if self.column == "images":
            return [entry for entry in value if entry.is_valid]
        return [value]

    def _read(self, rows: list[int]) -> None:
        """One row group at a time, and of it only the wanted rows (sorted)."""
        start = 0
        for file in self.files:
            parquet = pq.ParquetFile(file)
            for group in range(parquet.num_row_groups):
                size = parquet.metadata.row_group(group).num_rows
                here = [row - start for row in rows[bisect_left(rows, start) : bisect_left(rows, start + size)]]
                if here:
                    column = parquet.read_row_group(group, columns=[self.column]).column(0)
                    kept = column.take(pa.array(here))
                    self.rows.update({start + place: kept[i] for i, place in enumerate(here)})
                start += size


@contextmanager
def _strict() -> Iterator[None]:
    """Several backends of lmms-eval let Pillow fill up truncated images with grey, for the whole process."""
    with STRICT:
        before, ImageFile.LOAD_TRUNCATED_IMAGES = ImageFile.LOAD_TRUNCATED_IMAGES, False
        try:
            yield
        finally:
            ImageFile.LOAD_TRUNCATED_IMAGES = before


def _ends(jpeg: bytes) -> bool:
    """Whether the mark of the end follows the last scan (one before it belongs to a thumbnail in the header)."""
    return jpeg.rfind(b"\xff\xd9") > jpeg.rfind(b"\xff\xda")


def _reason(error: Exception) -> str:
    """Pillow's words without the memory address of what it was given."""
    return str(error).partition(" <_io.")[0]
