"""Tiny random LLaVAs: 1.5, NeXT, OneVision."""

import torch
from tiny_parts import CLIP, DECODER, ENDS, SHAPE, SIZE, WORDS
from transformers import (
    LlavaNextConfig,
    LlavaNextForConditionalGeneration,
    LlavaNextImageProcessor,
    LlavaNextProcessor,
    LlavaOnevisionConfig,
    LlavaOnevisionForConditionalGeneration,
    LlavaOnevisionImageProcessor,
    LlavaOnevisionProcessor,
    LlavaOnevisionVideoProcessor,
)

from mllmu_tasks.benchmarks.mini.tiny import CHAT_TEMPLATE, build_tiny_llava, train_tokenizer

GRIDS = [[56, 56], [56, 112], [112, 56]]


def tiny_llava(texts=WORDS):
    return build_tiny_llava(texts, shape=SHAPE)


def tiny_llava_next(texts=WORDS):
    """Images in tiles, whose number depends on the image's shape."""
    tokenizer = train_tokenizer(texts, 400)
    images = LlavaNextImageProcessor(size={"shortest_edge": 56}, crop_size=SIZE, image_grid_pinpoints=GRIDS)
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
        image_grid_pinpoints=GRIDS,
        vision_feature_layer=-1,
        tie_word_embeddings=True,
    )
    torch.manual_seed(0)
    return LlavaNextForConditionalGeneration(config).eval(), processor


def tiny_llava_onevision(texts=WORDS):
    """Tiles only if a prompt has one image."""
    tokenizer = train_tokenizer(texts, 400)
    tokenizer.add_special_tokens({"additional_special_tokens": ["<video>"]})
    processor = LlavaOnevisionProcessor(
        image_processor=LlavaOnevisionImageProcessor(size=SIZE, image_grid_pinpoints=GRIDS),
        tokenizer=tokenizer,
        video_processor=LlavaOnevisionVideoProcessor(size=SIZE),
        num_image_tokens=16,
        vision_feature_select_strategy="full",
        chat_template=CHAT_TEMPLATE,
    )
    number = tokenizer.convert_tokens_to_ids
    config = LlavaOnevisionConfig(
        vision_config={**CLIP, "model_type": "siglip_vision_model", "vision_use_head": False},
        text_config={**DECODER, **ENDS, "model_type": "qwen2", "vocab_size": len(tokenizer)},
        image_token_index=number("<image>"),
        video_token_index=number("<video>"),
        image_grid_pinpoints=GRIDS,
        tie_word_embeddings=True,
    )
    torch.manual_seed(0)
    return LlavaOnevisionForConditionalGeneration(config).eval(), processor
