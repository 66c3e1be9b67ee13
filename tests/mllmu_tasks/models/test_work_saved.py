"""The work of a whole evaluation, counted in tokens and image encodings against the loop of the official script.

Seconds depend on the machine; these numbers do not. The bounds are those of docs/performance.md, with room.
"""

import pytest
from plain_loop import requests_of

from mllmu_tasks.benchmarks.mini import checkpoint
from mllmu_tasks.benchmarks.mllmu.spec import leaves
from mllmu_tasks.harness.hf import MllmuHf


@pytest.fixture(scope="module")
def evaluation(tmp_path_factory):
    """(counts, [(tokens, prompt)]) of the mini benchmark with 15 percent to forget, by the shipped vanilla model."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MLLMU_DATA", "mini")
        patch.setenv("MLLMU_CACHE", str(tmp_path_factory.mktemp("cache")))
        requests, documents = requests_of(15)
        model = MllmuHf(str(checkpoint("vanilla")), device="cpu", batch_size="auto")
        model.task_dict = documents
        asked = [(length, prompt) for _, length, prompt in model._read(requests)]
        model.generate_until(requests)
        return model.engine.counts, asked


def test_each_distinct_image_is_encoded_once(evaluation):
    counts, asked = evaluation
    shown = [image for _, prompt in asked for image in prompt.images]
    assert counts.images_encoded == len(set(shown))
    assert len(shown) > 30 * counts.images_encoded  # what the loop encodes


def test_the_examples_of_a_leaf_are_prefilled_once(evaluation):
    counts, asked = evaluation
    whole = sum(length for length, _ in asked)
    with_examples = [leaf for leaf in leaves(15) if leaf.split != "real" and leaf.task != "generation"]
    assert len(with_examples) == 12
    once = counts.tokens_prefilled + counts.tokens_reused - whole
    longest = max(length for length, _ in asked)
    assert 0 < once < len(with_examples) * longest  # every beginning was computed, and once
    assert whole > 4 * counts.tokens_prefilled


def test_letters_take_a_token_or_two(evaluation):
    counts, asked = evaluation
    letters = sum(prompt.reading.short for _, prompt in asked)
    assert letters == 780
    others = sum(prompt.settings["max_new_tokens"] for _, prompt in asked if not prompt.reading.short)
    assert counts.tokens_decoded < others / 5 + 2 * letters
    assert counts.questions == len(asked) == 1404
    assert counts.unanswered == counts.by_generate == counts.batches_split == 0
