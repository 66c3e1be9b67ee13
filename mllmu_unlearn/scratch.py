"""Build the mini benchmark's models from nothing: base, then vanilla and retain-only out of the base.

Base learns how questions are asked and answered from people of its own and from the celebrities, and none of the
60 people's facts (its tokenizer is trained on all texts, so it knows their names' letters). Vanilla is base
fine-tuned on all 60, retain-only the same recipe without the nine people of forget_15.
"""

import json
import shutil
from collections.abc import Iterator
from importlib.resources import files
from pathlib import Path

from mllmu_tasks.benchmark import FULL_CONFIG, REAL_CONFIG, TRAIN_CONFIG
from mllmu_tasks.mini import data_folder
from mllmu_tasks.source import open_source

SEED = 0
FORMAT_PEOPLE = 60
MODELS = ("base", "vanilla", "retain_only")


def rebuild(out: Path) -> dict[str, Path]:
    """Train all three under `out`; a model that stands there complete is kept. About 20 minutes on 2 cores."""
    from mllmu_tasks.mini.layout import write_format
    from mllmu_tasks.mini.tiny import build_tiny_llava

    formats, start = out / "format_people", out / "random"
    if not formats.exists():
        stage = formats.with_name(".format_people.tmp")
        shutil.rmtree(stage, ignore_errors=True)
        write_format(stage, people=60, seed=SEED, format_people=FORMAT_PEOPLE)
        stage.rename(formats)
    if not (start / "config.json").exists():
        model, processor = build_tiny_llava([*corpus(str(data_folder())), *corpus(str(formats))], seed=SEED)
        model.save_pretrained(start)
        processor.save_pretrained(start)
    _finetune("base", start, out, str(formats))
    _finetune("vanilla", out / "base", out, "mini")
    _finetune("retain_only", out / "base", out, "mini")
    return {name: out / name for name in MODELS}


def corpus(data: str) -> Iterator[str]:
    """All texts of a data set, for the tokenizer."""
    from mllmu_tasks.prompts import chat_text

    source = open_source(data)
    configs = [FULL_CONFIG, *([REAL_CONFIG] if data == str(data_folder()) else [])]
    for config in configs:
        for person in source.people(config):
            yield " ".join(str(value) for value in person.biography.values())
            for question in person.questions:
                yield f"USER: {chat_text(question)}\nASSISTANT: {question.gold}"
    for row in source.training_rows(TRAIN_CONFIG):
        yield json.dumps(row.pairs)


def _finetune(name: str, start: Path, out: Path, data: str) -> None:
    from mllmu_unlearn import config, run

    if (out / name / "model.safetensors").exists():
        return
    print(f"training {name} in {out / name}", flush=True)
    recipe = Path(str(files("mllmu_unlearn") / "recipes" / f"mini_{name}.yaml"))
    arguments = ["--config", str(recipe), "--model_name_or_path", str(start), "--data", data]
    run.finetune(config.parse(config.FinetuneConfig, [*arguments, "--output_dir", str(out / name)]))


if __name__ == "__main__":
    import sys

    rebuild(Path(sys.argv[1]))
