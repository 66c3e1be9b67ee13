"""What the engine answers: a rendered prompt, and what is read of the answer."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from PIL.Image import Image


@dataclass(frozen=True)
class Reading:
    """What is read of an answer: all before the first stop text.

    settled: (text, stop texts) -> whether nothing that may follow is read, where that is a token or two and not the
    whole answer.
    """

    until: tuple[str, ...] = ()
    settled: Callable[[str, Sequence[str]], bool] | None = None

    @property
    def short(self) -> bool:
        """Only the beginning of an answer is read."""
        return self.settled is not None

    def is_over(self, text: str) -> bool:
        """Whether nothing that may follow is read."""
        return any(stop in text for stop in self.until) or (self.short and self.settled(text, self.until))


@dataclass(frozen=True)
class Prompt:
    """where: who is asked what, for messages to the user. leaf: prompts of one leaf may share their beginning.
    settings: arguments of `generate`. reading: what is read of the answer. images: hashes of the images' pixels, in
    order; sizes: (width, height) of each. load_images(): the images themselves, RGB.
    """

    where: str
    leaf: str
    text: str
    settings: Mapping[str, Any]
    reading: Reading
    images: tuple[str, ...]
    sizes: tuple[tuple[int, int], ...]
    load_images: Callable[[], list[Image]]

    @property
    def greedy(self) -> bool:
        return not self.settings["do_sample"] and self.beams == 1

    @property
    def beams(self) -> int:
        return self.settings.get("num_beams", 1)

    @property
    def answer_tokens(self) -> int:
        """At most."""
        return self.settings["max_new_tokens"]
