"""Tiny random Idefics models: 2, with a resampler, and 3, of which SmolVLM is a kind."""

import torch
from tiny_parts import DECODER, TOWER, WORDS
from transformers import (
    Idefics2Config,
    Idefics2ForConditionalGeneration,
    Idefics2ImageProcessor,
    Idefics2Processor,
    Idefics3Config,
    Idefics3ForConditionalGeneration,
    Idefics3ImageProcessor,
    Idefics3Processor,
    PreTrainedTokenizerFast,
)

from mllmu_tasks.benchmarks.mini.tiny import train_tokenizer

IDEFICS_TEMPLATE = (
    "<s>{% for m in messages %}{{ m['role'] | capitalize }}:{% for p in m['content'] %}"
    "{% if p['type'] == 'text' %}{{ p['text'] }}{% else %}<image>{% endif %}{% endfor %}<end_of_utterance>\n"
    "{% endfor %}{% if add_generation_prompt %}Assistant:{% endif %}"
)
EYES = {**TOWER, "num_hidden_layers": 2, "num_attention_heads": 2, "image_size": 56}


def _tokenizer(texts):
    special = {"image_token": "<image>", "image_boundary_token": "<fake_token_around_image>"}
    return PreTrainedTokenizerFast(
        tokenizer_object=train_tokenizer(texts, 400).backend_tokenizer,
        **{"bos_token": "<s>", "eos_token": "</s>", "pad_token": "<pad>", "unk_token": "<unk>"},
        padding_side="left",
        extra_special_tokens={**special, "turn_end_token": "<end_of_utterance>", "global_token": "<global-img>"},
    )


def _text(tokenizer, family):
    ends = {"eos_token_id": tokenizer.eos_token_id, "bos_token_id": tokenizer.bos_token_id}
    return {**DECODER, **ends, "model_type": family, "vocab_size": len(tokenizer)}


def _ends(model, tokenizer):
    model.generation_config.eos_token_id = [
        tokenizer.eos_token_id,
        tokenizer.convert_tokens_to_ids("<end_of_utterance>"),
    ]
    return model


def tiny_idefics2(texts=WORDS):
    tokenizer = _tokenizer(texts)
    images = Idefics2ImageProcessor(size={"longest_edge": 56, "shortest_edge": 28}, do_image_splitting=False)
    processor = Idefics2Processor(
        image_processor=images, tokenizer=tokenizer, image_seq_len=4, chat_template=IDEFICS_TEMPLATE
    )
    resampler = {"resampler_n_latents": 4, "resampler_depth": 1, "resampler_n_heads": 2, "resampler_head_dim": 16}
    config = Idefics2Config(
        image_token_id=tokenizer.convert_tokens_to_ids("<image>"),
        tie_word_embeddings=True,
        vision_config=EYES,
        perceiver_config={**resampler, "num_key_value_heads": 2, "hidden_size": 32},
        text_config=_text(tokenizer, "mistral"),
    )
    torch.manual_seed(0)
    return _ends(Idefics2ForConditionalGeneration(config).eval(), tokenizer), processor


def tiny_idefics3(texts=WORDS):
    tokenizer = _tokenizer(texts)
    size = {"longest_edge": 56}
    images = Idefics3ImageProcessor(size=size, max_image_size=size, do_image_splitting=False)
    processor = Idefics3Processor(
        image_processor=images, tokenizer=tokenizer, image_seq_len=4, chat_template=IDEFICS_TEMPLATE
    )
    config = Idefics3Config(
        image_token_id=tokenizer.convert_tokens_to_ids("<image>"),
        scale_factor=2,
        tie_word_embeddings=True,
        pad_token_id=0,
        vision_config=EYES,
        text_config=_text(tokenizer, "llama"),
    )
    torch.manual_seed(0)
    return _ends(Idefics3ForConditionalGeneration(config).eval(), tokenizer), processor
