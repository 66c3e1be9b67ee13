"""LLaVA 1.5, 1.6 and OneVision: features of a CLIP-like tower in the place of image tokens."""

from mllmu_tasks.models.families.base import Family

PROJECTORS = ("multi_modal_projector",)

FAMILIES = {
    "llava": Family("rows", shares=True, unfolds=True, embeds=True, official_text=True, projectors=PROJECTORS),
    "llava_next": Family("rows", shares=True, embeds=True, official_text=True, projectors=PROJECTORS),
    "llava_onevision": Family("rows", counts_images=True, shares=True, official_text=True, projectors=PROJECTORS),
    "llava_next_video": Family(official_text=True, projectors=PROJECTORS),
}
