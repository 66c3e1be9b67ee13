"""Unlearning methods for multimodal LLMs. They read forget and retain people and write PEFT adapters."""

from mllmu_tasks import __version__

__all__ = ["__version__"]
