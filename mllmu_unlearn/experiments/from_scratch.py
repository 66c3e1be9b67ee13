"""The mini benchmark's models from nothing: base, then vanilla and retain-only out of the base.

Base learns how questions are asked and answered from people of its own and from the celebrities, and none of the
60 people's facts (its tokenizer is trained on all texts, so it knows their names' letters). Vanilla is base
fine-tuned on all 60, retain-only the same recipe without the nine people of forget_15. Both also see the
celebrities again, whom they would forget otherwise.
"""

import json
import shutil
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from mllmu_tasks import __version__
from mllmu_tasks.artifacts.folders import whole_folder
from mllmu_tasks.artifacts.identity import file_hash
from mllmu_tasks.benchmarks.mini import data_folder
from mllmu_tasks.benchmarks.mllmu.prompts import (
    CLOZE_INSTRUCTION,
    GENERATION_INSTRUCTION,
    LETTER_INSTRUCTION,
    chat_text,
)
from mllmu_tasks.benchmarks.mllmu.spec import FULL_CONFIG, REAL_CONFIG, TRAIN_CONFIG
from mllmu_tasks.data.source import open_source
from mllmu_unlearn.experiments.runner import Stage
from mllmu_unlearn.recipes import find_recipe

SEED = 0
FORMAT_PEOPLE = 60
PHRASES = (
    *(LETTER_INSTRUCTION, CLOZE_INSTRUCTION, *GENERATION_INSTRUCTION.values()),
    *("USER:", "\nASSISTANT:", "\nA:", "\nB:", "\nC:", "\nD:"),
)
"""One token each, which cuts the length of a few-shot prompt, and thereby the time of training, by a third."""


@dataclass(frozen=True)
class Scratch:
    """Where training starts: random weights, the base model's data, the data of the other two."""

    home: Path

    @property
    def random(self) -> Path:
        return self.home / "random"

    @property
    def formats(self) -> Path:
        return self.home / "format_people"

    @property
    def everyone(self) -> Path:
        return self.home / "everyone"

    def prepare(self) -> None:
        """Write all three; what stands there is kept. A few seconds."""
        from mllmu_tasks.benchmarks.mini.layout import write_format
        from mllmu_tasks.benchmarks.mini.tiny import build_tiny_llava

        if not self.formats.exists():
            with whole_folder(self.formats) as stage:
                write_format(stage, people=60, seed=SEED, format_people=FORMAT_PEOPLE)
        if not self.everyone.exists():
            with whole_folder(self.everyone) as stage:
                shutil.copytree(data_folder(), stage, dirs_exist_ok=True)
                full, real = (next((stage / config).glob("*.parquet")) for config in (FULL_CONFIG, REAL_CONFIG))
                pq.write_table(pa.concat_tables([pq.read_table(full), pq.read_table(real)]), full)
        if not self.random.exists():
            with whole_folder(self.random) as stage:
                texts = [*corpus(str(data_folder())), *corpus(str(self.formats))]
                model, processor = build_tiny_llava(texts, seed=SEED, phrases=PHRASES)
                model.save_pretrained(stage)
                processor.save_pretrained(stage)


def stages(scratch: Scratch, out: Path, cores: int, environment: Mapping[str, str]) -> list[Stage]:
    """Training of the three models in `out`/<name>.

    Vanilla and retain-only may train at once, on half of the cores each, and in two parts: the facts, from
    questions that stand alone, then the same behind few-shot turns. Long prompts from the start take twice the time.
    """
    base = _training("base", scratch.random, scratch.formats, out / "base", cores, environment)
    made, half = [base], max(1, cores // 2)
    for name in ("vanilla", "retain_only"):
        facts = f"{name}_facts"
        first = _training(facts, base.output, scratch.everyone, scratch.home / facts, half, environment, base.name)
        made += [first, _training(name, first.output, scratch.everyone, out / name, half, environment, first.name)]
    return made


def _training(
    name: str, start: Path, data: Path, out: Path, threads: int, environment: Mapping[str, str], *needs: str
) -> Stage:
    recipe = find_recipe(f"mini/{name}")
    arguments = ["--config", str(recipe), "--model_name_or_path", str(start), "--data", str(data)]
    return Stage(
        name=f"train-{name}",
        command=(sys.executable, "-m", "mllmu_unlearn.cli.main", "finetune", *arguments, "--output_dir", str(out)),
        output=out,
        needs=needs,
        identity=f"{__version__} {file_hash(recipe)}",
        environment={**environment, "OMP_NUM_THREADS": str(threads)},
    )


def corpus(data: str) -> Iterator[str]:
    """All texts of a data set, for the tokenizer."""
    source = open_source(data)
    configs = [FULL_CONFIG, *([REAL_CONFIG] if data == str(data_folder()) else [])]
    for config in configs:
        for person in source.people(config):
            yield " ".join(str(value) for value in person.biography.values())
            for question in person.questions:
                yield f"USER: {chat_text(question)}\nASSISTANT: {question.gold}"
    for row in source.training_rows(TRAIN_CONFIG):
        yield json.dumps(row.pairs)
