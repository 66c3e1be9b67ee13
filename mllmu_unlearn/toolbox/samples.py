"""A training sample: a conversation about a person, of which the last answers are learnt or forgotten."""

from dataclasses import dataclass

from PIL.Image import Image

from mllmu_tasks.data.source import Source


@dataclass(frozen=True, slots=True)
class ImageRef:
    """An image of a source: of a row of a training config, or (row None) of a person of a config."""

    source: Source
    config: str
    person: str
    row: int | None = None

    def open(self) -> Image:
        if self.row is not None:
            return self.source.image_of_row(self.config, self.row, 0)
        return self.source.image(self.source.by_id(self.config)[self.person])


@dataclass(frozen=True, slots=True)
class Turn:
    question: str
    answer: str
    image: ImageRef | None = None


@dataclass(frozen=True, slots=True)
class Sample:
    """A conversation whose last answers are learnt (or forgotten); earlier turns are only shown.

    origin: what it was made from: a training config, `biography` or `benchmark`.
    learnt: how many of the last turns have labels on their answers.
    """

    person: str
    turns: tuple[Turn, ...]
    origin: str
    learnt: int = 1

    @property
    def question(self) -> str:
        return self.turns[-1].question

    @property
    def answer(self) -> str:
        return self.turns[-1].answer

    @property
    def modality(self) -> str:
        """`image` if any turn shows one, else `text`."""
        return "image" if any(turn.image is not None for turn in self.turns) else "text"

    def images(self) -> list[Image]:
        return [turn.image.open() for turn in self.turns if turn.image is not None]
