"""`unlearning.yaml` and the model card: all that is needed to know what an output folder is."""

import json
import shlex
from collections.abc import Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from string import Template
from typing import Any

import yaml

from mllmu_tasks.artifacts.record import write_record
from mllmu_tasks.text_safety import code, code_block, markdown, one_line, printable
from mllmu_unlearn.output.next_commands import commands

CARD = "README.md"
PACKAGES = ("mllmu", "torch", "transformers", "peft", "accelerate")

_CARD = Template("""\
---
$front---

# $name

$what

| | |
|---|---|
| method | $title ($method), protocol $protocol |
| loss | $formula |
| source | $paper |
| hyper-parameters | $hypers |
| base model | $base, revision $revision |
| base fingerprint | $fingerprint |
| data | $data (sha256 $hash) |
| forgotten | $forgotten |
| retained | $retained |
| trained on | $trained |
| training pairs | $modalities |
| seed | $seed |
| versions | $versions |
| training | $training |
$results
## Use

$use

`unlearning.yaml` in this folder holds all of the above for programs.

## Licence and limits

The weights derive from the base model and stand under its licence. MLLMU-Bench is fictitious apart from its
celebrities; its terms are on its data card. Unlearning of this kind lowers what the model tells; it is no
proof that nothing can be recovered from the weights.
""")

_RESULTS = """
## Results

{table}

Mean score ± standard error clustered by person, by lmms-eval on the tasks of `mllmu`: cls and cloze are accuracies, gen
is ROUGE-L; image and text pooled. Forget and test should be low, retain and real as before.
"""

_USE = {
    "lora": """\
```python
from peft import PeftModel
from transformers import AutoModelForImageTextToText, AutoProcessor

model = AutoModelForImageTextToText.from_pretrained($base_literal)
model = PeftModel.from_pretrained(model, $name_literal)
processor = AutoProcessor.from_pretrained($name_literal)
```

$evaluate
Merged weights for other servers: $export.""",
    "full": """\
An ordinary checkpoint: $opened.

$evaluate""",
    "prompt": """\
No weights. $evaluate
The system prompt is:

> $prompt""",
}
_USE["ia3"] = _USE["shira"] = _USE["lora"]


CURVE = "losses"
"""The losses over the steps; for programs, too long for the card."""


def versions() -> dict[str, str]:
    return {name: version(name) for name in PACKAGES}


def write(
    folder: Path, record: Mapping[str, Any], *, name: str, model_index: Sequence[Mapping] = (), table: str = ""
) -> None:
    """Write both files. `record` is the content of unlearning.yaml, `name` the heading of the card.

    model_index, table: evaluation results, for the Hub and for readers.
    """
    write_record(folder, record)
    card = _card(record, name=name, model_index=model_index, table=table)
    (folder / CARD).write_text(printable(card), encoding="utf-8")


def _card(record: Mapping[str, Any], *, name: str, model_index: Sequence[Mapping], table: str) -> str:
    about = record["about"]
    base, forget, kind = record["base_model"], record["forget"], record["kind"]
    ids = ", ".join(forget["ids"])
    plain = {
        "name": name,
        "prompt": record["system_prompt"] or "",
        "title": about["title"],
        "paper": about["paper"],
        "hypers": ", ".join(f"{k} = {v}" for k, v in record["hyper_parameters"].items()) or "none",
        "revision": base["revision"] or "default",
        "forgotten": f"{len(forget['ids'])} people ({ids})" if ids else "nobody",
        "retained": f"{record['retain']['people']} people",
        "trained": _trained_on(record),
        "modalities": ", ".join(record["modalities"]) or "none",
        "seed": record["seed"],
        "versions": ", ".join(f"{k} {v}" for k, v in record["versions"].items()),
        "training": ", ".join(f"{k} {v}" for k, v in _flat(record["training"]) if k != CURVE) or "none",
    }
    spans = {
        "base": base["name_or_path"],
        "method": record["method"],
        "protocol": record["protocol"],
        "formula": about["formula"],
        "fingerprint": base["fingerprint"],
        "data": record["data"]["source"],
        "hash": record["data"]["hash"],
        "export": f"mllmu export {shlex.quote(name)} --out MERGED",
        "opened": f"AutoModelForImageTextToText.from_pretrained({_literal(name)})",
    }
    fields = {key: markdown(str(value)) for key, value in plain.items()}
    fields |= {key: code(str(value)) for key, value in spans.items()}
    fields |= {"base_literal": _literal(base["name_or_path"]), "name_literal": _literal(name)}
    fields |= {"what": _what(record, about["title"]), "evaluate": _evaluate(record, name)}
    fields["use"] = Template(_USE[kind]).substitute(fields)
    front = _front(record) | ({"model-index": list(model_index)} if model_index else {})
    return _CARD.substitute(
        fields,
        results=_RESULTS.format(table=table) if table else "",
        front=yaml.safe_dump(front, sort_keys=False, allow_unicode=True),
    )


def _evaluate(record: Mapping[str, Any], name: str) -> str:
    lines = commands(record, name)
    if len(lines) == 1:
        return f"In lmms-eval:\n{code(lines[0])}."
    text = (
        "In lmms-eval, for which the named people need data of their own (`mllmu_forget` then asks about exactly them):"
    )
    first, *rest, last = code_block("\n".join(map(one_line, lines)))
    return "\n".join([text, "", f"{first}bash", *rest, last, ""])


def _what(record: Mapping[str, Any], title: str) -> str:
    if record["method"] == "finetune":
        return "A model trained on people of MLLMU-Bench, to unlearn them from or to compare with."
    base = code(record["base_model"]["name_or_path"])
    return f"{base} after unlearning people of MLLMU-Bench by {markdown(title.lower())}."


def _literal(text: str) -> str:
    """As a string of Python."""
    return json.dumps(one_line(text), ensure_ascii=False)


def _trained_on(record: Mapping[str, Any]) -> str:
    if trained := record.get("trained"):
        return f"{trained['people']} people ({trained['whom']})"
    return ", ".join(f"{count} {side} pairs" for side, count in record["data"]["pairs"].items()) or "nothing"


def _front(record: Mapping[str, Any]) -> dict[str, Any]:
    peft = record["kind"] in ("lora", "ia3", "shira")
    base = record["base_model"]["name_or_path"]
    known = {} if Path(base).is_absolute() else {"base_model": base}  # the hub takes an id there, not a folder
    front = known | {
        "base_model_relation": "adapter" if peft else "finetune",
        "pipeline_tag": "image-text-to-text",
        "datasets": ["MLLMMU/MLLMU-Bench"],
        "tags": ["unlearning", "mllmu", record["method"]],
    }
    return {"library_name": "peft", **front} if peft else {"library_name": "transformers", **front}


def _flat(values: Mapping[str, Any]) -> list[tuple[str, Any]]:
    pairs = []
    for key, value in values.items():
        if isinstance(value, Mapping) and key != CURVE:
            pairs += _flat(value)
        else:
            pairs.append((key.replace("_", " "), value))
    return pairs
