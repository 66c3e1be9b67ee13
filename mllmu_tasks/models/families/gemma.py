"""Gemma 3: tokens of one image see each other in both directions, so no beginning is shared."""

from mllmu_tasks.models.families.base import Family

FAMILIES = {"gemma3": Family("rows", projectors=("multi_modal_projector",))}
