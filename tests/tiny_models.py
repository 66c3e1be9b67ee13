"""Tiny random models of several families, each with its processor, by name: FAMILIES["llava"](texts)."""

from pathlib import Path

import torch
from tiny_architectures import DECODER, TOWER, tiny_idefics3, tiny_qwen
from transformers import (
    Gemma3Config,
    Gemma3ForConditionalGeneration,
    Gemma3ImageProcessor,
    Gemma3Processor,
    LlavaNextConfig,
    LlavaNextForConditionalGeneration,
    LlavaNextImageProcessor,
    LlavaNextProcessor,
    MllamaConfig,
    MllamaForConditionalGeneration,
    MllamaImageProcessor,
    MllamaProcessor,
    PreTrainedTokenizerFast,
)

from mllmu_tasks.mini.tiny import CHAT_TEMPLATE, TinyShape, build_tiny_llava, train_tokenizer

SHAPE = TinyShape(hidden=32, layers=2, heads=2, feed_forward=48, vision_hidden=32, vision_layers=1, vocabulary=400)
WORDS = [
    "Where does the person in the image live? In Oslo, Quito, Lima or Accra.",
    "USER: ASSISTANT: Question: Correct Answer: A: B: C: D: the name of this person is Ada Berg.",
]
SIZE = {"height": 56, "width": 56}
CLIP = {**TOWER, "num_hidden_layers": 2, "num_attention_heads": 2, "image_size": 56}
ENDS = {"bos_token_id": 1, "eos_token_id": 2}


def tiny_llava(texts=WORDS):
    return build_tiny_llava(texts, shape=SHAPE)


def tiny_llava_next(texts=WORDS):
    """Images in tiles, whose number depends on the image's shape."""
    tokenizer = train_tokenizer(texts, 400)
    grids = [[56, 56], [56, 112], [112, 56]]
    images = LlavaNextImageProcessor(size={"shortest_edge": 56}, crop_size=SIZE, image_grid_pinpoints=grids)
    processor = LlavaNextProcessor(
        image_processor=images,
        tokenizer=tokenizer,
        patch_size=14,
        vision_feature_select_strategy="default",
        chat_template=CHAT_TEMPLATE,
        num_additional_image_tokens=1,
    )
    config = LlavaNextConfig(
        vision_config={**CLIP, "model_type": "clip_vision_model", "projection_dim": 32},
        text_config={**DECODER, **ENDS, "model_type": "llama", "vocab_size": len(tokenizer)},
        image_token_index=tokenizer.convert_tokens_to_ids("<image>"),
        image_grid_pinpoints=grids,
        vision_feature_layer=-1,
        tie_word_embeddings=True,
    )
    torch.manual_seed(0)
    return LlavaNextForConditionalGeneration(config).eval(), processor


def tiny_gemma3(texts=WORDS):
    """Attention in both directions within an image, sliding windows."""
    special = {
        "image_token": "<image_soft_token>",
        "boi_token": "<start_of_image>",
        "eoi_token": "<end_of_image>",
    }
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=train_tokenizer(texts, 400).backend_tokenizer,
        bos_token="<s>",
        eos_token="</s>",
        pad_token="<pad>",
        unk_token="<unk>",
        padding_side="left",
        extra_special_tokens=special,
    )
    processor = Gemma3Processor(
        image_processor=Gemma3ImageProcessor(size=SIZE),
        tokenizer=tokenizer,
        chat_template=CHAT_TEMPLATE.replace("<image>\n", "<start_of_image>"),
        image_seq_length=4,
    )
    number = tokenizer.convert_tokens_to_ids
    config = Gemma3Config(
        text_config={**DECODER, **ENDS, "vocab_size": len(tokenizer), "head_dim": 16, "sliding_window": 16},
        vision_config=CLIP,
        mm_tokens_per_image=4,
        image_token_index=number(special["image_token"]),
        boi_token_index=number(special["boi_token"]),
        eoi_token_index=number(special["eoi_token"]),
        tie_word_embeddings=True,
    )
    torch.manual_seed(0)
    return Gemma3ForConditionalGeneration(config).eval(), processor


def tiny_mllama(texts=WORDS):
    """Images through cross attention, in rows aligned with the prompts."""
    tokenizer = train_tokenizer(texts, 400)
    processor = MllamaProcessor(
        image_processor=MllamaImageProcessor(size=SIZE, max_image_tiles=2),
        tokenizer=tokenizer,
        chat_template=CHAT_TEMPLATE,
    )
    tower = {
        **{"hidden_size": 32, "intermediate_size": 48, "patch_size": 14, "image_size": 56, "attention_heads": 2},
        **{"num_hidden_layers": 2, "num_global_layers": 1, "intermediate_layers_indices": [0, 1]},
        **{"max_num_tiles": 2, "vision_output_dim": 96, "supported_aspect_ratios": [[1, 1], [1, 2], [2, 1]]},
    }
    text = {**DECODER, **ENDS, "num_hidden_layers": 3, "cross_attention_layers": [1], "tie_word_embeddings": False}
    config = MllamaConfig(
        text_config={**text, "vocab_size": len(tokenizer)},
        vision_config=tower,
        image_token_index=tokenizer.convert_tokens_to_ids("<image>"),
    )
    torch.manual_seed(0)
    return MllamaForConditionalGeneration(config).eval(), processor


FAMILIES = {
    "llava": tiny_llava,
    "llava_next": tiny_llava_next,
    "qwen2_5_vl": tiny_qwen,
    "idefics3": tiny_idefics3,
    "gemma3": tiny_gemma3,
    "mllama": tiny_mllama,
}


def sharpen(model, factor: float = 15.0):
    """Make answers depend on the whole prompt.

    Fresh random weights repeat their last token, so the layers get more weight than the embeddings; and what
    starts at zero (biases, gates, Gemma's projector) would keep images out.
    """
    draw = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if not parameter.any():
                parameter.copy_(0.3 * torch.randn(parameter.shape, generator=draw))
            elif parameter.ndim > 1 and "embed" not in name:
                parameter.mul_(factor)
    return model


def save(family: str, folder: Path) -> Path:
    """A folder that plain `from_pretrained` opens."""
    model, processor = FAMILIES[family](WORDS)
    sharpen(model).save_pretrained(folder)
    processor.save_pretrained(folder)
    return folder
