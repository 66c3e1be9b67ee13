"""Benchmark 2: a whole benchmark of the paper's size on a randomly initialised model of LLaVA-1.5-7B's shape.

    python benchmarks/evaluation_7b.py --shape 7b --device cuda --people 500

500 people, 25 of them to forget, with their test questions, 475 to keep, and 153 celebrities; all tasks, both
modalities. Weights do not matter for time; random ones never end an answer, so every answer that is not a letter
takes all of its 50 tokens, which is the worst case. The loop of the official script is extrapolated from a sample of
each leaf. Without a GPU the script runs on a tiny shape: it then shows that it works, and no speed.
"""

import argparse
import os
import tempfile
import time
from collections import defaultdict
from pathlib import Path

import torch
from plain_loop import PlainLoop, requests_of
from transformers import CLIPVisionConfig, LlamaConfig, LlavaConfig, LlavaForConditionalGeneration

from mllmu_tasks.benchmarks.mini import tiny, write
from mllmu_tasks.harness.answer_store import request_keys
from mllmu_tasks.harness.rendering import Renderer
from mllmu_tasks.models.base_model import Base
from mllmu_tasks.models.engine.engine import Engine
from mllmu_tasks.models.engine.scheduling import answers, budget_for
from mllmu_tasks.models.engine.vision import ShownCache
from mllmu_tasks.models.features import GIB

PEAKS = {"H100": 989e12, "H200": 989e12, "A100": 312e12}  # dense bf16 matrix operations a second
WORDS = ["USER: ASSISTANT: Where does the person in the image live? In Oslo, Quito, Lima or Accra."]


def model_of(shape: str, device: torch.device, dtype: torch.dtype):
    """(model, processor). The tokenizer is trained on the spot; prompts get about as long as LLaVA's."""
    if shape == "tiny":
        model, processor = tiny.build_tiny_llava(WORDS)
        return model.to(device, dtype), processor
    _, processor = tiny.build_tiny_llava(WORDS, shape=tiny.TinyShape(image_size=336, patch_size=14))
    config = LlavaConfig(
        vision_config=CLIPVisionConfig(
            hidden_size=1024,
            intermediate_size=4096,
            projection_dim=768,
            num_hidden_layers=24,
            num_attention_heads=16,
            image_size=336,
            patch_size=14,
        ),
        text_config=LlamaConfig(
            vocab_size=32064,
            hidden_size=4096,
            intermediate_size=11008,
            num_hidden_layers=32,
            num_attention_heads=32,
            max_position_embeddings=4096,
        ),
        image_token_index=processor.tokenizer.convert_tokens_to_ids("<image>"),
    )
    torch.set_default_dtype(dtype)
    with device:
        model = LlavaForConditionalGeneration(config)
    torch.set_default_dtype(torch.float32)
    model.generation_config.eos_token_id = processor.tokenizer.eos_token_id
    model.generation_config.pad_token_id = processor.tokenizer.pad_token_id
    return model.eval(), processor


def work(model, counts) -> float:
    """Multiplications and additions: twice the weights of every token and of every patch; attention left out."""
    text = sum(p.numel() for n, p in model.named_parameters() if "language_model.layers" in n)
    vision = model.config.vision_config
    tower = sum(p.numel() for n, p in model.named_parameters() if "vision_tower" in n)
    patches = (vision.image_size // vision.patch_size) ** 2
    tokens = counts.tokens_prefilled + counts.tokens_decoded
    return 2 * text * tokens + 2 * tower * patches * counts.images_encoded


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--shape", choices=("tiny", "7b"), default="tiny")
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--people", type=int, default=60)
    parser.add_argument("--celebrities", type=int, default=None, help="153 with 500 people")
    parser.add_argument("--ratio", type=int, default=5)
    parser.add_argument("--shots", default="1,2")
    parser.add_argument("--batch_size", default="auto")
    parser.add_argument("--sample", type=int, default=2, help="questions a leaf for the plain loop")
    options = parser.parse_args()
    folder = Path(tempfile.mkdtemp()) / "data"
    celebrities = options.celebrities or max(1, options.people * 153 // 500)
    write(folder, people=options.people, celebrities=celebrities)
    os.environ |= {"MLLMU_DATA": str(folder), "MLLMU_SHOTS": options.shots}
    device = torch.device(options.device)
    model, processor = model_of(options.shape, device, torch.bfloat16 if device.type == "cuda" else torch.float32)
    requests, documents = requests_of(options.ratio)
    loop_seconds = extrapolated(PlainLoop(model, processor, device), requests, documents, options.sample)
    base = Base(model, processor, "random", {})
    engine = Engine(model, base, device, ShownCache(8 * GIB))
    began = time.perf_counter()
    asked = read(engine, processor, requests, documents)
    reading = time.perf_counter() - began
    for _ in answers(engine, asked, budget_for(options.batch_size, model, device)):
        pass
    seconds = time.perf_counter() - began
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else "CPU"
    print(f"{name}, shape {options.shape}: {len(requests)} questions about {options.people} + {celebrities} people")
    print(f"mllmu_hf: {seconds:.1f} s, of them {reading:.1f} s reading the questions; {engine.counts}")
    print(f"loop of the official script, extrapolated: {loop_seconds:.0f} s: {loop_seconds / seconds:.1f} x")
    for card, peak in PEAKS.items():
        if card in name:
            print(f"fraction of the matrix peak: {work(model, engine.counts) / seconds / peak:.2f}")


def read(engine: Engine, processor, requests, documents) -> dict:
    renderer, prompts, contents, lengths = Renderer(processor), [], [], []
    for request in requests:
        prompt, images = renderer.render(request, documents)
        prompts.append(prompt)
        contents.append((prompt.text, prompt.images, prompt.settings))
        lengths.append(engine.preparer.length(prompt, images))
    return dict(zip(request_keys(contents), zip(lengths, prompts, strict=True), strict=True))


def extrapolated(loop: PlainLoop, requests, documents, sample: int) -> float:
    """Seconds for all requests, by the mean of the first few of every leaf (and one before, not counted)."""
    leaves = defaultdict(list)
    for request in requests:
        leaves[request.args[4]].append(request)
    loop.answer(requests[:1], documents)
    total = 0.0
    for asked in leaves.values():
        few = asked[:sample]
        began = time.perf_counter()
        loop.answer(few, documents)
        total += (time.perf_counter() - began) / len(few) * len(asked)
    return total


if __name__ == "__main__":
    main()
