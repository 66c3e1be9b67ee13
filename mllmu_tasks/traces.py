"""Stack traces of mistakes of ours: to a file, not into a user's terminal."""

import os
import sys
import tempfile
import time
import traceback
from pathlib import Path

KEPT = 20


def keep_trace(error: BaseException) -> Path | None:
    """Write a trace to the cache folder, or to a temporary one, and return the file.

    Where neither can be written the trace goes to stderr, and None comes back.
    """
    text = "".join(traceback.format_exception(error))
    for place in (_beside_the_cache, _temporary):
        try:
            file = place()
            file.write_text(f"{' '.join(sys.argv[:1])} {sys.version}\n{text}", encoding="utf-8", errors="replace")
            return file
        except (OSError, RuntimeError):  # a folder that cannot be written, or no home to have one in
            continue
    print(text, file=sys.stderr, flush=True)
    return None


def _beside_the_cache() -> Path:
    """The folder of `mllmu_tasks.user_folders`, which raises errors of a module that needs this one."""
    folder = Path(os.environ.get("MLLMU_CACHE") or Path.home() / ".cache" / "mllmu") / "traces"
    folder.mkdir(parents=True, exist_ok=True)
    for old in sorted(folder.glob("*.txt"))[: -KEPT + 1]:
        old.unlink(missing_ok=True)
    return folder / f"{time.strftime('%Y%m%d-%H%M%S')}-{os.getpid()}.txt"


def _temporary() -> Path:
    handle, name = tempfile.mkstemp(prefix="mllmu-trace-", suffix=".txt")
    os.close(handle)
    return Path(name)
