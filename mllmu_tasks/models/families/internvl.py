"""InternVL in the form of Transformers."""

from mllmu_tasks.models.families.base import Family

FAMILIES = {"internvl": Family("rows", shares=True, projectors=("multi_modal_projector",))}
