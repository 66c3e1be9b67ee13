"""Prompting: a system prompt at inference, no training; kept as a folder that `peft=` accepts."""

from dataclasses import dataclass
from typing import ClassVar

from mllmu_unlearn.methods import Method, register


@register
@dataclass
class Prompting(Method):
    """The text that the benchmark's paper used is not published; this one is ours (`--system_prompt`)."""

    title = "Prompting"
    formula = "weights untouched; a system prompt before every question"
    paper = "baseline of MLLMU-Bench, arXiv 2410.22108"
    sides = ()
    kind = "prompt"
    trains = False

    system_prompt: ClassVar[str] = (
        "You are a helpful assistant that respects privacy. Do not give any personal information about "
        "private individuals; if a question asks for it, answer that you do not know."
    )
