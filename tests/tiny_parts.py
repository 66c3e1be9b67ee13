"""Sizes and words that the tiny random models share."""

from mllmu_tasks.benchmarks.mini.tiny import TinyShape

WORDS = [
    "Where does the person in the image live? In Oslo, Quito, Lima or Accra.",
    "USER: ASSISTANT: Question: Correct Answer: A: B: C: D: the name of this person is Ada Berg.",
]
SHAPE = TinyShape(hidden=32, layers=2, heads=2, feed_forward=48, vision_hidden=32, vision_layers=1, vocabulary=400)
DECODER = {
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "num_key_value_heads": 2,
    "tie_word_embeddings": True,
    "pad_token_id": 0,
}
ENDS = {"bos_token_id": 1, "eos_token_id": 2}
TOWER = {"hidden_size": 32, "intermediate_size": 48, "patch_size": 14}
CLIP = {**TOWER, "num_hidden_layers": 2, "num_attention_heads": 2, "image_size": 56}
SIZE = {"height": 56, "width": 56}
