"""Qwen2-VL, Qwen2.5-VL, Qwen3-VL: patches of any number by a grid, in three-dimensional positions."""

from mllmu_tasks.models.families.base import Family

FAMILIES = dict.fromkeys(("qwen2_vl", "qwen2_5_vl", "qwen3_vl"), Family("grid", shares=True, projectors=("merger",)))
