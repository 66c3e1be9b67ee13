"""What a training run leaves about its course: the losses over the steps."""

from collections.abc import Mapping, Sequence
from typing import Any

POINTS = 200
"""At most so many logged steps are kept; every n-th then, and always the last one."""


def loss_curve(logs: Sequence[Mapping[str, Any]], points: int = POINTS) -> dict[str, list]:
    """Columns of equal length out of the Trainer's log: `step`, `loss`, and one a term (`loss_forget`, ...).

    A term that a step did not log is None there. {} without logs.
    """
    if not logs:
        return {}
    every = -(-len(logs) // points)
    kept = [*reversed(logs[::-1][::every])]
    names = sorted({name for entry in kept for name in entry if name.startswith("loss")})
    columns = {name: [_short(entry.get(name)) for entry in kept] for name in names}
    return {"step": [entry["step"] for entry in kept]} | columns


def _short(value: float | None) -> float | None:
    return None if value is None else float(f"{value:.4g}")
