"""Loud words at the end of a run in which questions were not answered.

An empty answer scores 0, which on a forget set looks like perfect forgetting. Several backends of lmms-eval turn
a failure into an empty answer, so the last thing that a run prints is how many there were, and why perhaps.
"""

import atexit
import sys

from mllmu_tasks.benchmarks import registry
from mllmu_tasks.benchmarks.vocabulary import Leaf
from mllmu_tasks.data.people import Modality

_SEEN: dict[Leaf, tuple[int, int]] = {}
_HONEST: list[str] = []
BAR = "!" * 100


def note(leaf: Leaf, silent: int, asked: int) -> None:
    """Remember how many of a leaf's questions were not answered; the words come when the process ends."""
    atexit.unregister(say)
    atexit.register(say)
    _SEEN[leaf] = silent, asked


def failures_end_the_run(model: str) -> None:
    """Said by a model of ours: where it gives no text, the checkpoint gave none."""
    _HONEST[:] = [model]


def say() -> None:
    """Print the words, if any, and start anew: at the end of the process, or of a run that others follow."""
    words = warning(_SEEN, *_HONEST)
    if words:
        print(f"\n{BAR}\n{words}\n{BAR}", file=sys.stderr, flush=True)
    _SEEN.clear()


def warning(seen: dict[Leaf, tuple[int, int]], honest: str = "") -> str:
    """(unanswered, asked) of each leaf -> what to print; "" if all were answered.

    honest: the model's name if it never hides a failure.
    """
    silent, asked = (sum(counts[n] for counts in seen.values()) for n in (0, 1))
    if not silent:
        return ""
    cause = _by_itself(honest) if honest else _cause(seen)
    where = ", ".join(f"{leaf.name} {few} of {many}" for leaf, (few, many) in seen.items() if few)
    return (
        f"mllmu: {silent} of {asked} questions not answered. An empty answer scores 0 and looks like forgetting: "
        f"do not read these scores as a result before you know why.\n{where}\nLikely cause: {cause}"
    )


def _by_itself(model: str) -> str:
    return (
        f"the model ended its answer at once ({model} ends the run on any failure); on retain and real that is damage."
    )


def _cause(seen: dict[Leaf, tuple[int, int]]) -> str:
    mute = {leaf for leaf, (silent, asked) in seen.items() if silent == asked}
    partly = {leaf for leaf, (silent, asked) in seen.items() if silent} - mute
    if mute and not partly:
        for test, cause in (
            (lambda leaf: leaf.modality is Modality.TEXT, "this backend cannot answer questions without an image"),
            (lambda leaf: leaf.modality is Modality.IMAGE, "this backend cannot answer questions with images"),
            (_has_shots, "this backend cannot answer prompts with several turns or images (MLLMU_SHOTS=0 has none)"),
        ):
            if set(filter(test, seen)) == mute and len(mute) < len(seen):
                return f"{cause}; see docs/backends.md, or use --model mllmu_hf."
    if mute and len(mute) == len(seen):
        return "every generation failed, and the log above shows the first exception; use --model mllmu_hf to see why."
    return "the model ended its answer at once, or generation failed and the backend hid it; read the log above."


def _has_shots(leaf: Leaf) -> bool:
    return registry.benchmark(leaf.benchmark).shows_examples(leaf)
