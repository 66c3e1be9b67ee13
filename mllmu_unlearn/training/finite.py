"""Weights that are NaN or infinite are never kept: neither as a checkpoint nor as a result."""

from pathlib import Path

from mllmu_tasks.artifacts.weight_files import first_not_finite
from mllmu_tasks.errors import UserError


def require_finite_weights(folder: Path) -> None:
    """Raise UserError if a safetensors file of the folder holds NaN or infinity.

    A finite loss can be followed by a step that is not; what is written is what counts.
    """
    for file in sorted(folder.glob("*.safetensors")):
        if name := first_not_finite(file):
            raise UserError(
                f"the weights are not finite any more ({name}); lower --learning_rate, set --max_grad_norm 1, "
                "or use --dtype float32."
            )
