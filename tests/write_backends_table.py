"""Writes the tables of docs/backends.md: python tests/write_backends_table.py (about ten minutes on two CPU cores).

Runs tiny random models through lmms-eval's stock backends, one process each, and imports all the others to see what
they lack. Nothing is downloaded; what was not run is listed as such.
"""

import contextlib
import importlib
import json
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

from loguru import logger

DOC = Path(__file__).parents[1] / "docs" / "backends.md"
PROBE = Path(__file__).with_name("backend_probe.py")
PIXELS = {"min_pixels": 784, "max_pixels": 3136}
CPU, FLOAT = {"device_map": "cpu"}, {"device_map": "cpu", "dtype": "float32"}
BARE = ", without chat template"
CASES = [
    ("mllmu_hf", "chat", "llava", {}),
    ("mllmu_hf", "chat", "qwen2_5_vl", {}),
    ("llava_hf", "chat", "llava", FLOAT),
    ("llava_hf", "simple", "llava", FLOAT),
    ("llava_hf", "simple", f"llava{BARE}", FLOAT),
    ("llava_hf", "chat", "llava_next", FLOAT),
    ("llava_hf", "chat", "llava_onevision", FLOAT),
    ("huggingface", "chat", "llava", CPU),
    ("huggingface", "chat", "qwen2_5_vl", CPU),
    ("idefics2", "simple", "idefics2", {**FLOAT, "attn_implementation": "eager"}),
    ("qwen2_vl", "simple", "qwen2_vl", {**CPU, **PIXELS}),
    ("qwen2_5_vl", "chat", "qwen2_5_vl", {**CPU, **PIXELS}),
    ("qwen2_5_vl", "simple", "qwen2_5_vl", {**CPU, **PIXELS}),
    ("qwen3_vl", "chat", "qwen3_vl", {**CPU, **PIXELS}),
    ("qwen3_vl", "simple", "qwen3_vl", {**CPU, **PIXELS}),
    ("internvl_hf", "chat", "internvl", CPU),
    ("gemma3", "simple", "gemma3", CPU),
    ("llama_vision", "simple", "mllama", FLOAT),
]
COLUMNS = {
    "image": "image question",
    "text": "text-only question",
    "mixed": "both in one run",
    "several": "several images (few-shot)",
    "batches": "batch size 4",
    "adapter": "adapter by `mllmu_peft`",
    "linked": "`mllmu export --link`",
}


def run_case(backend: str, kind: str, family: str, arguments: dict) -> dict[str, str]:
    family, bare, _ = family.partition(BARE)
    case = {"backend": backend, "kind": kind, "family": family, "arguments": arguments, "template": not bare}
    command = [sys.executable, str(PROBE), json.dumps(case)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=600, check=False)
    lines = done.stdout.strip().splitlines()
    if done.returncode or not lines or not lines[-1].startswith("{"):
        sys.exit(f"{backend} with {family}: the probe itself failed\n{done.stderr[-3000:]}")
    return json.loads(lines[-1])


def ran() -> str:
    heads = ["backend", "tiny model", *COLUMNS.values()]
    lines = [heads, ["---"] * len(heads)]
    for backend, kind, family, arguments in CASES:
        found = run_case(backend, kind, family, arguments)
        print(backend, kind, family, found, flush=True)
        name = f"`{backend}`" if backend == "mllmu_hf" else f"`{backend}` ({kind})"
        lines.append([name, family, *(_cell(found[key]) for key in COLUMNS)])
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("<", "&lt;")


def not_run() -> str:
    """Every other backend of the installed lmms-eval, and why it was not run here."""
    from lmms_eval.models import MODEL_REGISTRY_V2

    reasons: dict[str, list[str]] = {}
    tried = {backend for backend, *_ in CASES}
    for name in MODEL_REGISTRY_V2.list_canonical_model_ids():
        if name not in tried and not name.startswith("mllmu_"):
            reasons.setdefault(_obstacle(MODEL_REGISTRY_V2.get_manifest(name)), []).append(f"`{name}`")
    lines = [f"| {_cell(why)} | {', '.join(sorted(names))} |" for why, names in sorted(reasons.items())]
    return "\n".join(["| why not | backends |", "|---|---|", *lines])


def _obstacle(manifest) -> str:
    """Backends that catch their own import errors say so in the log."""
    path = manifest.chat_class_path or manifest.simple_class_path
    module, name = path.rsplit(".", 1)
    said: list[str] = []
    sink = logger.add(said.append, level="WARNING")
    try:
        with contextlib.redirect_stdout(sys.stderr):
            getattr(importlib.import_module(module), name)
    except ModuleNotFoundError as error:
        return f"needs the package {(error.name or str(error)).split('.')[0]}, which is not installed here"
    except Exception as error:
        return f"its import fails: {type(error).__name__}: {' '.join(str(error).split())[:100]}"
    finally:
        logger.remove(sink)
    if said:
        return "says on import that something it needs is not installed"
    return "imports, which does not say that it can start: no tiny model of its kind here, or a service elsewhere"


def main() -> None:
    packages = ("lmms-eval", "transformers", "peft", "torch")
    made_with = ", ".join(f"{name} {version(name)}" for name in packages)
    tables = {"versions": made_with + ".", "not-run": not_run(), "ran": ran()}
    text = DOC.read_text(encoding="utf-8")
    for mark, table in tables.items():
        start, end = f"<!-- {mark} -->\n", f"<!-- /{mark} -->"
        head, rest = text.split(start)
        text = f"{head}{start}{table}\n{end}{rest.split(end)[1]}"
    DOC.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
