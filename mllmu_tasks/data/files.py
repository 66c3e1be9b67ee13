"""The parquet files of a config: in a folder, or of the hub."""

import re
from collections import defaultdict
from pathlib import Path

from mllmu_tasks.errors import UserError, reason_of

REQUEST_MARK = "request.yaml"
"""In a folder of named people, whose configs hold a file only for those files of the source that know one of them."""
PART = re.compile(r"(.*?)-?(\d+)-of-(\d+)\.parquet")


def files_in(folder: Path, config: str) -> list[Path]:
    """The parquet files of `folder`/`config` in row order; [] if there are none.

    Hidden files (`._train.parquet`, as macOS leaves them) are no data. Raises UserError for what is no regular file,
    which might never end, and for a part of a set that is not complete.
    """
    found = sorted(file for file in (folder / config).glob("*.parquet") if not file.name.startswith("."))
    for file in found:
        if not file.is_file():
            raise UserError(f"'{file}' is no file with content (a folder, a pipe, a dead link); remove it.")
    if not (folder / REQUEST_MARK).is_file():
        _check_parts(folder / config, found)
    return found


def _check_parts(folder: Path, files: list[Path]) -> None:
    """Exporters name parts train-00000-of-00002; a download that stopped half way has not all of them."""
    parts: dict[str, dict[int, set[int]]] = defaultdict(lambda: defaultdict(set))
    for match in filter(None, (PART.fullmatch(file.name) for file in files)):
        parts[match[1]][int(match[3])].add(int(match[2]))
    for name, totals in parts.items():
        if len(totals) > 1:
            raise UserError(
                f"'{folder}' holds {name}-… files of {' and of '.join(map(str, sorted(totals)))} parts; keep one set."
            )
        ((total, there),) = totals.items()
        if len(there) < total:
            raise UserError(f"'{folder}' holds {len(there)} of the {total} parts of {name}; fetch it again.")


def hub_files(repository: str, remedy: str, config: str) -> list[Path]:
    """Download one config (or find it in the cache). Raises UserError, which ends in `remedy`, if it cannot be had."""
    import httpx
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, OfflineModeIsEnabled

    try:
        folder = snapshot_download(repository, repo_type="dataset", allow_patterns=[f"{config}/*.parquet"])
    except (HfHubHTTPError, OfflineModeIsEnabled, httpx.HTTPError, OSError, ValueError) as error:
        raise UserError(
            f"data set '{repository}' cannot be had from the hub and is not in the cache ({reason_of(error)}); "
            f"{remedy}."
        ) from error
    return files_in(Path(folder), config)
