"""What one stock backend of lmms-eval does with a tiny random model: one JSON object on the last line of stdout.

    python tests/backend_probe.py '{"backend": "llava_hf", "kind": "chat", "family": "llava", "arguments": {...}}'

`"template": false` takes the chat template away from the model.
Every question is one of the mini benchmark's, asked through lmms-eval's own `simple_evaluate`. A process of its own for
each backend: some change global state, and some end the process.
"""

import contextlib
import io
import json
import os
import re
import sys
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

os.environ |= {"MLLMU_DATA": "mini", "MLLMU_SHOTS": "1,1", "HF_HUB_OFFLINE": "1", "TOKENIZERS_PARALLELISM": "false"}
os.environ.setdefault("MLLMU_CACHE", tempfile.mkdtemp())
IMAGE, TEXT = "mllmu_forget_15_generation_image", "mllmu_forget_15_generation_text"
SEVERAL = "mllmu_forget_15_cloze_image"
QUESTIONS = 4
ADAPTER_RECORD = {
    **{"format": 1, "kind": "lora", "method": "npo", "protocol": "paper", "hyper_parameters": {}, "seed": 0},
    **{"data": {"source": "mini", "hash": ""}, "forget": {"ids": ["009"]}, "retain": {"people": 51}},
    **{"modalities": [], "versions": {}, "training": {}, "system_prompt": None},
}


@dataclass
class Probe:
    """A backend (kind: simple or chat) with a saved tiny model of a family."""

    backend: str
    kind: str
    family: str
    arguments: dict[str, Any]
    base: Path
    adapter: Path

    def run(self, *leaves: str, batch_size: int = 1, model: str = "", **more: Any) -> list[str]:
        """Answers to the first questions of some leaves. Whatever the backend raises comes out."""
        from lmms_eval import evaluator

        given = {"pretrained": self.base, **self.arguments, **more}
        found = evaluator.simple_evaluate(
            model=model or self.backend,
            model_args=",".join(f"{key}={value}" for key, value in given.items()),
            tasks=list(leaves),
            task_manager=_tasks(),
            batch_size=batch_size,
            device="cpu",
            limit=QUESTIONS,
            log_samples=True,
            force_simple=self.kind == "simple",
        )
        return [sample["filtered_resps"][0] for leaf in leaves for sample in found["samples"][leaf]]

    def adapted(self) -> list[str]:
        """With the adapter put in by mllmu_peft, which has verified that it changes the logits."""
        if self.backend == "mllmu_hf":
            return self.run(IMAGE, peft=self.adapter)
        return self.run(IMAGE, model="mllmu_peft", backend=self.backend, peft=self.adapter)

    @property
    def has_chat_twin(self) -> bool:
        from lmms_eval.models import MODEL_REGISTRY_V2

        return self.kind == "simple" and MODEL_REGISTRY_V2.get_manifest(self.backend).chat_class_path is not None

    def linked(self) -> list[str]:
        from mllmu_unlearn.output.export import link

        return self.run(IMAGE, pretrained=link(self.adapter, self.adapter.with_name("linked")))


def _tasks() -> Any:
    from lmms_eval.tasks import TaskManager

    from mllmu_tasks.plugin import task_folder

    return TaskManager(include_path=str(task_folder()), include_defaults=False)


def attempt(ask: Callable[[], list[str]]) -> list[str] | str:
    """Answers, or in one line what went wrong."""
    said = io.StringIO()
    try:
        with contextlib.redirect_stderr(said):
            return ask()
    except SystemExit:  # ours, with one sentence
        return f"refused: {_sentence(said.getvalue().rpartition('mllmu: error: ')[2])}"
    except Exception as error:
        return f"aborts: {type(error).__name__}: {_sentence(str(error))}"


def _sentence(text: str) -> str:
    words = re.sub(r"'[^' ]*/(adapter|tiny|linked)'", r"'\1'", " ".join(text.split()))
    return re.split(r"(?<=[a-z>])[.;] | \(", words)[0] or "(no words)"


def answered(answers: Sequence[str] | str) -> str:
    if isinstance(answers, str):
        return answers
    some = sum(bool(answer.strip()) for answer in answers)
    return "yes" if some == len(answers) else f'{some} of {len(answers)} answered, the others ""'


def same(answers: Sequence[str] | str, expected: Sequence[str] | str, else_: str) -> str:
    """How `answers` compare with what the same questions got before."""
    if isinstance(answers, str) or isinstance(expected, str):
        return answers if isinstance(answers, str) else "-"
    equal = sum(a == b for a, b in zip(answers, expected, strict=True))
    return "yes" if equal == len(expected) else f"{len(expected) - equal} of {len(expected)} {else_}"


def probe(case: Probe) -> dict[str, str]:
    image, text = attempt(lambda: case.run(IMAGE)), attempt(lambda: case.run(TEXT))
    mixed = attempt(lambda: case.run(IMAGE, TEXT))
    alone = image + text if isinstance(image, list) and isinstance(text, list) else "-"
    batches = attempt(lambda: case.run(IMAGE, batch_size=QUESTIONS))
    adapted = "takes the chat kind" if case.has_chat_twin else attempt(case.adapted)
    linked = attempt(case.linked)
    return {
        "image": answered(image),
        "text": answered(text),
        "mixed": same(mixed, alone, "other answers than alone"),
        "several": answered(attempt(lambda: case.run(SEVERAL))),
        "batches": same(batches, image, "other answers than one by one"),
        "adapter": _changed(adapted, image),
        "linked": _linked(linked, adapted, image),
    }


def _linked(linked: list[str] | str, adapted: list[str] | str, plain: list[str] | str) -> str:
    if isinstance(linked, str) or isinstance(adapted, str):
        return answered(linked)
    if linked == plain:
        return "the adapter is not in force"
    other = sum(a != b for a, b in zip(linked, adapted, strict=True))
    return f"yes; {other} of {len(linked)} answers differ from mllmu_peft's" if other else "yes"


def _changed(adapted: list[str] | str, plain: list[str] | str) -> str:
    if isinstance(adapted, str):
        return adapted
    return "answers unchanged" if adapted == plain else answered(adapted)


def main() -> None:
    import tiny_models
    from adapters import make_adapter
    from transformers import AutoProcessor

    from mllmu_tasks.artifacts.identity import weights_fingerprint

    case = json.loads(sys.argv[1])
    folder = Path(tempfile.mkdtemp())
    base, adapter = tiny_models.save(case["family"], folder / "tiny"), folder / "adapter"
    if not case.pop("template", True):
        (base / "chat_template.jinja").unlink()
    made_from = {"name_or_path": str(base), "revision": None, "fingerprint": weights_fingerprint(str(base))}
    make_adapter(base, adapter, "lora", record={**ADAPTER_RECORD, "base_model": made_from})
    AutoProcessor.from_pretrained(base).save_pretrained(adapter)
    print(json.dumps(probe(Probe(**case, base=base, adapter=adapter))))


if __name__ == "__main__":
    main()
