"""How much memory this process has needed so far."""

import sys

import torch


def peak_memory(device: torch.device) -> float | None:
    """MiB at the peak: allocated on a CUDA device, else resident in this process; None where the system hides it."""
    if device.type == "cuda":
        return round(torch.cuda.max_memory_allocated(device) / 2**20, 1)
    if sys.platform == "win32":
        return None
    import resource

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss  # KiB on Linux, bytes on macOS
    return round(peak / (2**20 if sys.platform == "darwin" else 2**10), 1)
