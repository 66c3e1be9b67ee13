"""All that is known of an architecture, by its `model_type`: one file a family, and one name here."""

from mllmu_tasks.models.families import gemma, idefics, internvl, llava, mllama, paligemma, qwen
from mllmu_tasks.models.families.base import Family

KNOWN = {
    model_type: family
    for file in (gemma, idefics, internvl, llava, mllama, paligemma, qwen)
    for model_type, family in file.FAMILIES.items()
}
UNKNOWN = Family()


def family_of(model_type: str) -> Family:
    """An unknown architecture gets the safe defaults."""
    return KNOWN.get(model_type, UNKNOWN)
