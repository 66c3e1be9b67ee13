"""Files of weights before anything opens them: whole safetensors that hold finite numbers, or one sentence.

Evaluation, training, export and upload ask here, so that each of them refuses the same file in the same words.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open

from mllmu_tasks import strict_json
from mllmu_tasks.errors import UserError, quoted, reason_of
from mllmu_tasks.user_files import read_text

INDEX = "model.safetensors.index.json"
WHOLE = "model.safetensors"
PICKLES = (".bin", ".pt", ".pth", ".pkl", ".pickle", ".ckpt")
"""Endings of files that run code when they are opened; none is."""

_BEGINNINGS = {
    b"PK\x03\x04": "is a pickle of PyTorch under the name of a safetensors file; save it with safetensors",
    b"\x80": "is a pickle under the name of a safetensors file; save it with safetensors",
    b"version https://git-lfs": "is a pointer of Git LFS in place of the weights; fetch them with `git lfs pull`",
}


def require_safetensors(file: Path) -> None:
    """Raise UserError unless this is a whole safetensors file; links are followed. Reads the header alone."""
    if file.is_symlink() and not file.exists():
        raise UserError(f"'{file}' is a link to '{file.readlink()}', which is not there; fetch the weights again.")
    if not file.exists():
        raise UserError(f"'{file}' is missing; fetch the weights again.")
    if not file.is_file():
        what = "a folder" if file.is_dir() else "no regular file"
        raise UserError(f"'{file}' is {what}; it must be a safetensors file.")
    try:
        if file.stat().st_size == 0:
            raise UserError(f"'{file}' is empty; fetch it again, or write it anew.")
        with safe_open(file, framework="numpy") as content:
            content.keys()
    except OSError as error:
        raise UserError(f"'{file}' cannot be read ({reason_of(error)}).") from error
    except SafetensorError as error:
        raise UserError(f"'{file}' {_wrong_with(file, error)}.") from error


def _wrong_with(file: Path, error: SafetensorError) -> str:
    with file.open("rb") as content:
        beginning = content.read(32)
    header = beginning[8:9] == b"{"  # behind its length, which may look like anything
    for mark, said in _BEGINNINGS.items():
        if beginning.startswith(mark) and not header:
            return said
    reason = reason_of(error, 120)
    if "IncompleteBuffer" in reason or "not fully covered" in reason:
        return f"is not complete ({file.stat().st_size:,} bytes are there); fetch it again, or write it anew"
    return f"is no safetensors file ({reason}); fetch it again, or write it anew"


def tensors(file: Path) -> Iterator[tuple[str, Any]]:
    """(name, tensor on the CPU) one after the other, so that no more than one of them is in memory."""
    with safe_open(file, framework="pt") as content:
        for name in content.keys():  # noqa: SIM118, it is no dict
            yield name, content.get_tensor(name)


def is_finite(tensor: Any) -> bool:
    """Whether a tensor holds neither NaN nor infinity; whole numbers never do. Takes no memory of the tensor's size."""
    if not tensor.is_floating_point() or tensor.numel() == 0:
        return True
    if tensor.element_size() < 2:  # 8-bit floats, which know no comparison
        tensor = tensor.float()
    least, most = tensor.aminmax()
    return bool(least.isfinite() and most.isfinite())


def first_not_finite(file: Path) -> str:
    """The name of the first tensor with NaN or infinity, "" if there is none."""
    return next((name for name, tensor in tensors(file) if not is_finite(tensor)), "")


def files_of_model(folder: Path, name: str) -> list[Path]:
    """The weight files that Transformers would open in a model's folder, whether they are there or not.

    name: of the model, for messages. Raises UserError if the folder has none, or its index is damaged.
    """
    if (folder / WHOLE).exists() or (folder / WHOLE).is_symlink():
        return [folder / WHOLE]
    if not (folder / INDEX).is_file():
        raise UserError(f"model '{name}' has no {WHOLE} and no {INDEX}; only safetensors are opened.")
    try:
        listed = strict_json.loads(read_text(folder / INDEX, f"'{folder / INDEX}'"))["weight_map"]
        shards = sorted(set(listed.values()))
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise UserError(f"'{folder / INDEX}' is no index of shards; fetch it again.") from error
    for shard in shards:
        if not isinstance(shard, str) or Path(shard).name != shard:
            raise UserError(f"'{folder / INDEX}' names {quoted(shard)}, which lies elsewhere; fetch it again.")
    if not shards:
        raise UserError(f"'{folder / INDEX}' names no files; fetch it again.")
    return [folder / shard for shard in shards]


def require_whole_model(folder: Path, name: str) -> None:
    """Raise UserError unless every weight file of a model's folder is there and complete. Reads headers alone."""
    for file in files_of_model(folder, name):
        require_safetensors(file)


def require_finite_model(model: Any, name: str) -> None:
    """Raise UserError if a loaded model (torch.nn.Module) holds NaN or infinity, as stored or by its type's range."""
    for which, parameter in model.named_parameters():
        if not parameter.is_meta and not is_finite(parameter.data):
            kind = str(parameter.dtype).removeprefix("torch.")
            raise UserError(
                f"model '{name}' holds NaN or infinity in {kind} ({which}), and every answer of it would be empty or "
                "noise; fetch it again, or open it in another type (dtype=float32)."
            )
