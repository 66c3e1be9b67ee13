"""Idefics2 and Idefics3: all tiles of a prompt in one tensor."""

from mllmu_tasks.models.families.base import Family

FAMILIES = dict.fromkeys(("idefics2", "idefics3"), Family("tiles", shares=True, projectors=("connector",)))
