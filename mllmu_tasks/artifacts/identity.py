"""Hashes of whatever decides a result: texts, files, images, and weights without reading their gigabytes.

All hashing of both packages is here. The values stand in records and results and are compared across versions.
"""

import functools
import hashlib
import re
import struct
import time
from collections import OrderedDict
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

from mllmu_tasks import strict_json
from mllmu_tasks.artifacts.weight_files import files_of_model
from mllmu_tasks.errors import UserError, reason_of

if TYPE_CHECKING:
    from PIL.Image import Image

SETTLED_NS = 2 * 10**9
"""A file that changed within these nanoseconds may change again without another time in its entry."""
REMEMBERED = 64  # images
_BLOB = re.compile(r"[0-9a-f]{64}")
SAMPLES = 16
LONGEST_HEADER = 100_000_000  # bytes; what the safetensors library takes
SAMPLE_BYTES = 64


def text_hash(text: str | bytes) -> str:
    """sha256 hex of a text in UTF-8, or of bytes."""
    return hashlib.sha256(text.encode() if isinstance(text, str) else text).hexdigest()


def short_hash(text: str) -> str:
    """16 hex digits, as results files note a text; "" for no text."""
    return digest([text])[:16] if text else ""


def digest(parts: Iterable[str | bytes]) -> str:
    """sha256 hex of the parts, each with its length."""
    sha = hashlib.sha256()
    for part in parts:
        data = part.encode() if isinstance(part, str) else part
        sha.update(len(data).to_bytes(8, "little") + data)
    return sha.hexdigest()


def file_hash(file: Path) -> str:
    """sha256 hex of a file, read once while its size and times stay; the hub's cache names its blobs by it."""
    blob = file.resolve().name
    if file.is_symlink() and _BLOB.fullmatch(blob):
        return blob
    stat = file.stat()
    if time.time_ns() - stat.st_ctime_ns < SETTLED_NS:
        return _read_hash(file)
    return _remembered_hash(file, stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns)


def _read_hash(file: Path) -> str:
    with file.open("rb") as content:
        return hashlib.file_digest(content, "sha256").hexdigest()


@functools.lru_cache(maxsize=256)
def _remembered_hash(file: Path, size: int, modified: int, changed: int) -> str:
    return _read_hash(file)


def files_hash(files: Sequence[Path]) -> str:
    """sha256 hex of files with their names, in this order: what identifies an adapter."""
    return text_hash(b"".join(file.name.encode() + bytes.fromhex(file_hash(file)) for file in files))


class ImageHashes:
    """sha256 of an image's pixels, remembered for the recent images: shots come again with every question."""

    def __init__(self) -> None:
        self._known: OrderedDict[int, tuple[Image, str]] = OrderedDict()

    def __call__(self, image: "Image") -> str:
        known = self._known.get(id(image))
        if known is None or known[0] is not image:
            known = (image, digest([image.mode, str(image.size), image.tobytes()]))
            self._known[id(image)] = known
            if len(self._known) > REMEMBERED:
                self._known.popitem(last=False)
        self._known.move_to_end(id(image))
        return known[1]


def weights_fingerprint(name_or_path: str, revision: str | None = None) -> str:
    """32 hex digits that differ for models whose weights differ; equal for a copy, however it is sharded.

    sha256 over every tensor's name, type, shape and 16 samples of 64 bytes spread over it, so that an edit of a
    few neurons shows as well. Stored in another dtype, a model is another one. A hub id is resolved to its
    snapshot, which is downloaded if it is not there. Raises UserError if there are no safetensors.
    """
    folder = local_folder(name_or_path, revision=revision)
    files = files_of_model(folder, name_or_path)
    if (folder / ADAPTER_FILES[0]).is_file():  # Transformers applies an adapter that lies beside the weights
        files.append(folder / ADAPTER_FILES[1])
    try:
        stats = [file.stat() for file in files]
    except OSError as error:
        raise UserError(f"model '{name_or_path}' is not complete ({error}); fetch it again.") from error
    return _fingerprint(tuple((file, stat.st_size, stat.st_mtime_ns) for file, stat in zip(files, stats, strict=True)))


@functools.lru_cache(maxsize=32)
def _fingerprint(files: tuple[tuple[Path, int, int], ...]) -> str:
    """Of files with size and time, which are there so that a rewritten file is read anew."""
    parts: dict[str, bytes] = {}
    for file, _, _ in files:
        try:
            with file.open("rb") as content:
                parts.update(_tensors(content))
        except (OSError, ValueError, LookupError, TypeError, AttributeError, struct.error) as error:
            raise UserError(f"'{file}' is no complete safetensors file ({error}); fetch it again.") from error
    return text_hash(b"".join(parts[name] for name in sorted(parts)))[:32]


def _tensors(content: BinaryIO) -> dict[str, bytes]:
    """Tensor name -> description and samples, out of one file. Raises ValueError, KeyError, struct.error."""
    size = struct.unpack("<Q", content.read(8))[0]
    if size > LONGEST_HEADER:
        raise ValueError(f"its header would have {size:,} bytes")
    header = strict_json.loads(content.read(size))
    header.pop("__metadata__", None)
    found = {}
    for name, tensor in header.items():
        start, end = tensor["data_offsets"]
        last = max(0, end - start - SAMPLE_BYTES)
        samples = [f"{name} {tensor['dtype']} {tensor['shape']}\n".encode()]
        for place in sorted({last * n // (SAMPLES - 1) for n in range(SAMPLES)}):
            content.seek(8 + size + start + place)
            samples.append(content.read(min(SAMPLE_BYTES, end - start)))
        if end > start and not samples[-1]:
            raise ValueError("it ends early")
        found[name] = b"".join(samples)
    return found


MODEL_FILES = ("*.safetensors", "*.json", "*.jinja", "*.model", "*.txt")
RECORD_FILES = ("unlearning.yaml",)
ADAPTER_FILES = ("adapter_config.json", "adapter_model.safetensors", "unlearning.yaml")


def local_folder(name_or_path: str, files: Sequence[str] = MODEL_FILES, revision: str | None = None) -> Path:
    """The local folder of a model or adapter; of a hub id, `files` of its snapshot.

    Raises UserError if it is neither a folder nor to be had from the hub.
    """
    if Path(name_or_path).is_dir():
        return Path(name_or_path)
    refuse_missing(name_or_path)
    import httpx
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError, OfflineModeIsEnabled

    unreachable = (HfHubHTTPError, HFValidationError, OfflineModeIsEnabled, httpx.HTTPError, OSError, ValueError)
    try:
        found = snapshot_download(
            name_or_path, revision=revision, allow_patterns=list(files), ignore_patterns=["consolidated*"]
        )
    except unreachable as error:
        raise UserError(
            f"'{name_or_path}' is no folder here and cannot be had from the hub ({reason_of(error, 160)})."
        ) from error
    return Path(found)


def refuse_missing(name_or_path: str) -> None:
    """Raise UserError for what can only be a folder and is none, before anybody asks the hub for it."""
    if name_or_path.startswith(("/", ".", "~")) and not Path(name_or_path).is_dir():
        home = " (a ~ behind = is not your home folder; write the path out)" if name_or_path.startswith("~") else ""
        raise UserError(
            f"'{name_or_path}' is no folder here{home}; name one that exists, or a hub id such as "
            "llava-hf/llava-1.5-7b-hf."
        )
