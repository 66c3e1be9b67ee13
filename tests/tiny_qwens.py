"""Tiny random Qwens: 2-VL, 2.5-VL, 3-VL; and InternVL, whose decoder is a Qwen."""

import torch
from tiny_parts import CLIP, DECODER, SIZE, TOWER, WORDS
from transformers import (
    GotOcr2ImageProcessor,
    InternVLConfig,
    InternVLForConditionalGeneration,
    InternVLProcessor,
    InternVLVideoProcessor,
    PreTrainedTokenizerFast,
    Qwen2_5_VLConfig,
    Qwen2_5_VLForConditionalGeneration,
    Qwen2_5_VLProcessor,
    Qwen2VLConfig,
    Qwen2VLForConditionalGeneration,
    Qwen2VLImageProcessor,
    Qwen2VLProcessor,
    Qwen2VLVideoProcessor,
    Qwen3VLConfig,
    Qwen3VLForConditionalGeneration,
    Qwen3VLProcessor,
    Qwen3VLVideoProcessor,
)

from mllmu_tasks.benchmarks.mini.tiny import train_tokenizer

QWEN_TEMPLATE = (
    "{% for m in messages %}<|im_start|>{{ m['role'] }}\n{% for p in m['content'] %}"
    "{% if p['type'] == 'image' %}<|vision_start|><|image_pad|><|vision_end|>"
    "{% else %}{{ p['text'] }}{% endif %}{% endfor %}<|im_end|>\n"
    "{% endfor %}{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
INTERNVL_TEMPLATE = QWEN_TEMPLATE.replace("<|vision_start|><|image_pad|><|vision_end|>", "<IMG_CONTEXT>\\n")


def _tokenizer(texts):
    tokenizer = train_tokenizer(texts, 400)
    special = ["<|im_start|>", "<|im_end|>", "<|vision_start|>", "<|vision_end|>"]
    tokenizer.add_special_tokens({"additional_special_tokens": [*special, "<|image_pad|>", "<|video_pad|>"]})
    tokenizer.eos_token, tokenizer.bos_token = "<|im_end|>", None
    tokenizer.image_token, tokenizer.video_token = "<|image_pad|>", "<|video_pad|>"
    return tokenizer


def _model(config_class, model_class, tokenizer, tower, **text):
    number = tokenizer.convert_tokens_to_ids
    rope = {"rope_type": "default", "mrope_section": [2, 3, 3], "rope_theta": 10000.0}
    config = config_class(
        text_config={
            **DECODER,
            "vocab_size": len(tokenizer),
            "rope_parameters": rope,
            "eos_token_id": number("<|im_end|>"),
            **text,
        },
        vision_config=tower,
        image_token_id=number("<|image_pad|>"),
        video_token_id=number("<|video_pad|>"),
        vision_start_token_id=number("<|vision_start|>"),
        vision_end_token_id=number("<|vision_end|>"),
        tie_word_embeddings=True,
    )
    torch.manual_seed(0)
    return model_class(config).eval()


def _processor(processor_class, tokenizer, videos, patch_size=14):
    images = Qwen2VLImageProcessor(patch_size=patch_size, merge_size=2, min_pixels=28 * 28, max_pixels=56 * 56)
    return processor_class(
        image_processor=images, tokenizer=tokenizer, video_processor=videos, chat_template=QWEN_TEMPLATE
    )


def tiny_qwen2_vl(texts=WORDS):
    tokenizer = _tokenizer(texts)
    tower = {"depth": 2, "num_heads": 2, "embed_dim": 32, "hidden_size": 32, "mlp_ratio": 2, "patch_size": 14}
    model = _model(Qwen2VLConfig, Qwen2VLForConditionalGeneration, tokenizer, tower)
    return model, _processor(Qwen2VLProcessor, tokenizer, Qwen2VLVideoProcessor())


def tiny_qwen2_5_vl(texts=WORDS):
    tokenizer = _tokenizer(texts)
    window = {"window_size": 56, "fullatt_block_indexes": [1]}
    tower = {**TOWER, "depth": 2, "num_heads": 2, "out_hidden_size": 32, **window}
    model = _model(Qwen2_5_VLConfig, Qwen2_5_VLForConditionalGeneration, tokenizer, tower)
    return model, _processor(Qwen2_5_VLProcessor, tokenizer, Qwen2VLVideoProcessor())


def tiny_qwen3_vl(texts=WORDS):
    """Features of earlier vision layers go into earlier layers of the decoder."""
    tokenizer = _tokenizer(texts)
    deep = {"num_position_embeddings": 16, "deepstack_visual_indexes": [0], "patch_size": 16}
    tower = {**TOWER, "depth": 2, "num_heads": 2, "out_hidden_size": 32, **deep}
    model = _model(Qwen3VLConfig, Qwen3VLForConditionalGeneration, tokenizer, tower, head_dim=16)
    return model, _processor(Qwen3VLProcessor, tokenizer, Qwen3VLVideoProcessor(), patch_size=16)


def tiny_internvl(texts=WORDS):
    special = {
        "start_image_token": "<img>",
        "end_image_token": "</img>",
        "context_image_token": "<IMG_CONTEXT>",
        "video_token": "<video>",
    }
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=train_tokenizer(texts, 400).backend_tokenizer,
        eos_token="<|im_end|>",
        pad_token="<pad>",
        padding_side="left",
        extra_special_tokens={"turn_token": "<|im_start|>", **special},
    )
    processor = InternVLProcessor(
        image_processor=GotOcr2ImageProcessor(size=SIZE),
        tokenizer=tokenizer,
        video_processor=InternVLVideoProcessor(size=SIZE),
        image_seq_length=4,
        chat_template=INTERNVL_TEMPLATE,
    )
    end = tokenizer.convert_tokens_to_ids("<|im_end|>")
    config = InternVLConfig(
        text_config={**DECODER, "model_type": "qwen2", "vocab_size": len(tokenizer), "eos_token_id": end},
        vision_config=CLIP,
        image_token_id=tokenizer.convert_tokens_to_ids("<IMG_CONTEXT>"),
        image_seq_length=4,
        tie_word_embeddings=True,
    )
    torch.manual_seed(0)
    return InternVLForConditionalGeneration(config).eval(), processor
