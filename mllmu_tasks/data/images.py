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
ROOM = 256 * 2**20
"""Bytes of decoded pictures kept, of which the last one always is."""
LARGEST = 2**26
"""Pixels of an image, 8192 x 8192: 192 MiB decoded. A file of a few kB can claim any number."""
FORMATS = ("PNG", "JPEG", "MPO", "WEBP", "GIF", "BMP", "TIFF", "JPEG2000", "AVIF", "PPM")
"""Pillow knows forty more, of which one starts a program (EPS)."""

STRICT = threading.RLock()


class ImageStore:
    """Images of one config, by row. Thread-safe.

    files: the config's parquet files in row order. column: holds one image a row, or a list.
    """

    def __init__(self, config: str, files: Iterable[Path], column: str) -> None:
        self.config = config
        self.column = column
        self.files = list(files)
        self.lock = threading.RLock()
        self.wanted: set[int] | None = set()
        self.rows: dict[int, pa.Scalar] = {}
        self.decoded: OrderedDict[tuple[int, int], Image.Image] = OrderedDict()
        self.held = 0
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
        data = self._bytes(row, index)
        if isinstance(data, str):
            raise UserError(f"{self.config}, row {row}: image {index} cannot be read: {data}.")
        return data

    def _bytes(self, row: int, index: int) -> bytes | str:
        """The bytes as stored, or why there are none."""
        images = self._stored(row)
        if not 0 <= index < len(images):
            return f"the row holds {len(images) or 'no'} image{'s' * (len(images) > 1)}"
        entry = images[index].as_py()
        data = entry.get("bytes") if isinstance(entry, dict) else entry
        if isinstance(data, bytes) and data:
            return data
        if isinstance(data, str) or (isinstance(entry, dict) and entry.get("path")):
            return "the image is a path without bytes"
        return "the image has no bytes"

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
                picture = _opened(data).convert("RGB")
        except Exception as error:  # see _look
            raise UserError(f"{self.config}, row {row}: image {index} is unreadable ({_reason(error)}).") from error
        with self.lock:
            self.held += 0 if key in self.decoded else _size(picture)
            self.decoded[key] = picture
            while len(self.decoded) > 1 and (len(self.decoded) > DECODED or self.held > ROOM):
                self.held -= _size(self.decoded.popitem(last=False)[1])
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
        data = self._bytes(row, index)
        if isinstance(data, str):
            return data
        try:
            with _strict():
                picture = _opened(data)
                if not decode and picture.format == "PNG":
                    picture.verify()
                elif decode or picture.format != "JPEG" or not _ends(data):
                    picture.load()
        except Exception as error:  # Pillow's readers raise whatever they stumble over in foreign bytes
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
        if isinstance(value, pa.ListScalar):  # a large list is one, too
            return [entry for entry in value if entry.is_valid]
        return [value]

    def _read(self, rows: list[int]) -> None:
        """One row group at a time, and of it only the wanted rows (sorted). Raises UserError."""
        try:
            self._read_groups(rows)
        except (pa.ArrowException, OSError) as error:
            reason = str(error).partition("\n")[0]
            raise UserError(f"{self.config}: the images are unreadable ({reason}); fetch the data again.") from error

    def _read_groups(self, rows: list[int]) -> None:
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


def _opened(data: bytes) -> Image.Image:
    """Not decoded yet. Raises ValueError for an image of absurd size or of a format nobody keeps pictures in."""
    picture = Image.open(io.BytesIO(data))
    if picture.format not in FORMATS:
        raise ValueError(f"the format {picture.format} is not read")
    width, height = picture.size
    if width * height > LARGEST:
        raise ValueError(f"{width} x {height} pixels are more than {LARGEST:,}")
    return picture


def _size(picture: Image.Image) -> int:
    return 3 * picture.width * picture.height


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
