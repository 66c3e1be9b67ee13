"""Tiny random Gemma 3, PaliGemma and Mllama: attention that is not causal everywhere, or that crosses."""

import torch
from tiny_parts import CLIP, DECODER, ENDS, SIZE, WORDS
from transformers import (
    Gemma3Config,
    Gemma3ForConditionalGeneration,
    Gemma3ImageProcessor,
    Gemma3Processor,
    MllamaConfig,
    MllamaForConditionalGeneration,
    MllamaImageProcessor,
    MllamaProcessor,
    PaliGemmaConfig,
    PaliGemmaForConditionalGeneration,
    PaliGemmaProcessor,
    PreTrainedTokenizerFast,
    SiglipImageProcessor,
)

from mllmu_tasks.benchmarks.mini.tiny import CHAT_TEMPLATE, train_tokenizer

PALIGEMMA_TEMPLATE = (
    "{% for m in messages %}{% for p in m['content'] %}"
    "{% if p['type'] == 'text' %}{{ p['text'] }}{% else %}<image>{% endif %}{% endfor %}{% endfor %}"
)


def _tokenizer(texts, special):
    return PreTrainedTokenizerFast(
        tokenizer_object=train_tokenizer(texts, 400).backend_tokenizer,
        bos_token="<s>",
        eos_token="</s>",
        pad_token="<pad>",
        unk_token="<unk>",
        padding_side="left",
        extra_special_tokens=special,
    )


def tiny_gemma3(texts=WORDS):
    """Attention in both directions within an image, sliding windows."""
    special = {
        "image_token": "<image_soft_token>",
        "boi_token": "<start_of_image>",
        "eoi_token": "<end_of_image>",
    }
    tokenizer = _tokenizer(texts, special)
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


def tiny_paligemma(texts=WORDS):
    """Attention in both directions over the whole prompt; images are required."""
    tokenizer = train_tokenizer(texts, 400)
    images = SiglipImageProcessor(size=SIZE)
    images.image_seq_length = 16
    processor = PaliGemmaProcessor(image_processor=images, tokenizer=tokenizer, chat_template=PALIGEMMA_TEMPLATE)
    config = PaliGemmaConfig(
        text_config={**DECODER, **ENDS, "model_type": "gemma", "vocab_size": len(tokenizer), "head_dim": 16},
        vision_config={**CLIP, "model_type": "siglip_vision_model", "vision_use_head": False},
        image_token_index=tokenizer.convert_tokens_to_ids("<image>"),
        projection_dim=32,
        hidden_size=32,
        vocab_size=len(tokenizer),
    )
    torch.manual_seed(0)
    return PaliGemmaForConditionalGeneration(config).eval(), processor


def tiny_mllama(texts=WORDS):
    """Images through cross attention, in rows aligned with the prompts."""
    tokenizer = _tokenizer(texts, {"image_token": "<|image|>"})
    processor = MllamaProcessor(
        image_processor=MllamaImageProcessor(size=SIZE, max_image_tiles=2),
        tokenizer=tokenizer,
        chat_template=CHAT_TEMPLATE.replace("<image>\n", "<|image|>"),
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
        image_token_index=tokenizer.convert_tokens_to_ids("<|image|>"),
    )
    torch.manual_seed(0)
    return MllamaForConditionalGeneration(config).eval(), processor
