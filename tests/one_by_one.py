"""What the engine is measured against: one prompt after another, the processor and `generate`, nothing reused."""

import torch
from asking import SPLIT, TASK, requests, to_messages
from transformers import AutoModelForImageTextToText, AutoProcessor

from mllmu_tasks.harness.rendering import Renderer
from mllmu_tasks.models.engine.generation import cut


def answers(folder, docs, settings=None, messages=to_messages) -> tuple[list[list[int]], list[str]]:
    """(tokens without special ones, texts cut at their stop texts) of each document."""
    model = AutoModelForImageTextToText.from_pretrained(folder).eval()
    processor = AutoProcessor.from_pretrained(folder)
    tokens, texts = [], []
    for request in requests(docs, settings, messages):
        prompt, images = Renderer(processor).render(request, {TASK: {SPLIT: docs}})
        add = not prompt.text.startswith(processor.tokenizer.bos_token or "\0")
        inputs = processor(
            text=[prompt.text], images=[images] if images else None, add_special_tokens=add, return_tensors="pt"
        )
        with torch.inference_mode():
            made = model.generate(**inputs, **prompt.settings)[0, inputs["input_ids"].shape[1] :].tolist()
        tokens.append([token for token in made if token not in processor.tokenizer.all_special_ids])
        text = processor.tokenizer.decode(made, skip_special_tokens=True)
        texts.append(cut(text, prompt.reading.until))
    return tokens, texts
