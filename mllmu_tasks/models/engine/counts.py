"""The work done, counted, so that the work saved can be seen and tested."""

from dataclasses import asdict, dataclass


@dataclass
class Counts:
    """Without padding. A number that is not 0 says which route the questions took.

    questions: answered. unanswered: with nothing but white space.
    tokens_prefilled: of prompts, computed. tokens_reused: of shared beginnings, not computed again. Both of batches
    that were answered; one that did not fit into memory comes again.
    tokens_decoded: of answers, their ends included.
    images_encoded: passes through the vision tower. images_reused: features found instead, or shared by several rows.
    by_generate: questions that `model.generate` itself decoded (sampling and beams).
    batches_split: times that a batch did not fit into memory and was halved.
    """

    questions: int = 0
    unanswered: int = 0
    tokens_prefilled: int = 0
    tokens_reused: int = 0
    tokens_decoded: int = 0
    images_encoded: int = 0
    images_reused: int = 0
    by_generate: int = 0
    batches_split: int = 0

    def as_dict(self) -> dict[str, int]:
        return asdict(self)

    def __str__(self) -> str:
        return ", ".join(f"{value} {name.replace('_', ' ')}" for name, value in self.as_dict().items())
