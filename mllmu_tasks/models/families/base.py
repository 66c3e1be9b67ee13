"""The record that every family file fills in."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, Literal

from mllmu_tasks.models.encode import AnswerEncoder


@dataclass(frozen=True)
class Family:
    """What is known of an architecture. The defaults are safe for one that nobody looked at: plain batches, images
    encoded in every forward.

    layout: how images lie in the processor's tensors. `rows`: one a row, with its tiles; `grid`: runs of patches, by
    a grid that positions follow, too; `tiles`: those of a whole prompt; None: not known.
    counts_images: the tower asks for the number of images a prompt has (it cuts an only one into tiles).
    shares: a token sees only what stands before it, so prompts may share the keys and values of their beginning.
    unfolds: the processor makes each image's mark a run of marks, whatever stands around it.
    embeds: features go into the embeddings at the image tokens, in order, and nowhere else.
    reads_both_ways: the prompt is read in both directions and takes an image; only an answer behind it is causal.
    encoder: of conversations with answers to learn.
    takes_mixed_rows: changes a model to take rows with and without images in one batch; None: it does.
    official_text: the official training code writes its conversations as raw text, not by the chat template.
    projectors: names of the modules between tower and language model.
    mlp_ends: names of the last projections of MLPs, whatever tower and language model are inside.
    """

    layout: Literal["rows", "grid", "tiles"] | None = None
    counts_images: bool = False
    shares: bool = False
    unfolds: bool = False
    embeds: bool = False
    reads_both_ways: bool = False
    encoder: Callable[[Any, Iterable[int]], AnswerEncoder] = AnswerEncoder
    takes_mixed_rows: Callable[[Any], None] | None = None
    official_text: bool = False
    projectors: tuple[str, ...] = ("multi_modal_projector", "connector", "merger", "aligner")
    mlp_ends: tuple[str, ...] = ("down_proj", "fc2", "linear_fc2")

    @property
    def grids(self) -> bool:
        """Positions follow the grids of images."""
        return self.layout == "grid"

    def image_token(self, config: Any) -> int | None:
        """The token that stands for each feature of an image; None where images do not become tokens."""
        return None if self.layout is None else config.image_token_id
