"""One core a test process, no hub, a cache of its own: set before torch or huggingface_hub are imported."""

import os
import tempfile

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ["HF_HUB_OFFLINE"] = "1"
os.environ["TOKENIZERS_PARALLELISM"] = "false"
os.environ.setdefault("MLLMU_CACHE", tempfile.mkdtemp(prefix="mllmu-cache-"))
for name in ("MLLMU_DATA", "MLLMU_SEED", "MLLMU_SHOTS", "MLLMU_SHOT_QUESTIONS", "HF_TOKEN"):
    os.environ.pop(name, None)
