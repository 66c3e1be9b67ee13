"""The questions of a whole benchmark as lmms-eval's requests, and the plain loop over them that the engine must beat.

The loop does what the official script does: one question after another, the processor on every image of its prompt,
`generate` with at most 50 new tokens. The prompts are those of `mllmu_hf`.
"""

from collections.abc import Sequence
from typing import Any

import torch
from lmms_eval.api.instance import Instance

from mllmu_tasks.benchmarks.mllmu.questions import leaf_questions
from mllmu_tasks.benchmarks.mllmu.settings import Settings
from mllmu_tasks.benchmarks.mllmu.spec import Leaf, leaves
from mllmu_tasks.harness import task
from mllmu_tasks.harness.rendering import Renderer
from mllmu_tasks.models.encode import encode
from mllmu_tasks.models.engine.generation import cut

SETTINGS = {"until": ["ASSISTANT:"], "max_new_tokens": 50, "do_sample": False, "temperature": 0}


def requests_of(ratio: int) -> tuple[list[Instance], dict[str, dict[str, list[dict]]]]:
    """Requests of all leaves of a ratio, by the data and settings of the environment; and the documents by leaf."""
    documents, requests = {}, []
    for leaf in leaves(ratio):
        rows = list(leaf_questions(leaf, Settings.from_environment()).rows)
        documents[leaf.name] = {leaf.name: rows}
        requests += [_request(leaf, n, row) for n, row in enumerate(rows)]
    return requests, documents


def _request(leaf: Leaf, number: int, row: dict) -> Instance:
    arguments = (task.to_text(row), task.to_messages, dict(SETTINGS), number, leaf.name, leaf.name)
    metadata = {"task": leaf.name, "doc_id": number, "repeats": 1}
    return Instance(request_type="generate_until", arguments=arguments, idx=0, metadata=metadata)


class PlainLoop:
    """Batch size 1, nothing reused. tokens, images: what went through the model."""

    def __init__(self, model: Any, processor: Any, device: torch.device) -> None:
        self.model, self.processor, self.device = model, processor, device
        self.renderer = Renderer(processor)
        self.renderer.hash_image = lambda image: ""  # the loop has no use for it
        self.prefilled = self.decoded = self.images = 0

    @torch.inference_mode()
    def answer(self, requests: Sequence[Instance], documents: dict) -> list[str]:
        return [self._one(request, documents) for request in requests]

    def _one(self, request: Instance, documents: dict) -> str:
        prompt, images = self.renderer.render(request, documents)
        row = encode(self.processor, prompt.text, images)
        inputs = {
            name: value.to(self.device, self.model.dtype if value.is_floating_point() else None)
            for name, value in row.items()
        }
        length = inputs["input_ids"].shape[1]
        made = self.model.generate(**inputs, **prompt.settings)[0, length:]
        self.prefilled += length
        self.decoded += len(made)
        self.images += len(images)
        return cut(self.processor.tokenizer.decode(made, skip_special_tokens=True), prompt.reading.until)


def differences(requests: Sequence[Instance], documents: dict, ours: Sequence[str], theirs: Sequence[str]) -> list[str]:
    """Where the scored sample is not the same: score, prediction and all other facts of the benchmark's own scoring."""
    differ = []
    for request, one, other in zip(requests, ours, theirs, strict=True):
        leaf, number = request.args[4], request.args[3]
        row = documents[leaf][leaf][number]
        if task.score(row, [one]) != task.score(row, [other]):
            differ.append(f"{leaf}, person {row['person']}, question {row['question_index']}: {one!r}, not {other!r}")
    return differ
