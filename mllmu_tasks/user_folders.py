"""Where files of this package lie on a user's machine."""

import os
from pathlib import Path

from mllmu_tasks.errors import UserError


def cache_folder() -> Path:
    """Where this package keeps what it can rebuild: MLLMU_CACHE, default ~/.cache/mllmu.

    Raises UserError where there is no home, as for a user number that the machine does not know.
    """
    named = os.environ.get("MLLMU_CACHE")
    if named:
        return Path(named)
    try:
        return Path.home() / ".cache" / "mllmu"
    except RuntimeError as error:
        raise UserError("this user has no home folder; set HOME, or MLLMU_CACHE to a folder of your own.") from error


def require_home() -> None:
    """Raise UserError where the libraries under an evaluation would put their caches into a folder called `~`."""
    if os.path.expanduser("~") == "~" and not os.environ.get("HF_HOME"):
        raise UserError("this user has no home folder, where data are cached; set HOME to a folder of your own.")
