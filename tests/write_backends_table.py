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

from mllmu_tasks.text_safety import printable

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


def ran() -> list[dict[str, str]]:
    found = []
    for case in CASES:
        found.append(run_case(*case))
        print(*case[:3], found[-1], flush=True)
    return found


def as_table(found: list[dict[str, str]]) -> str:
    """A row for each case; what a backend said when it gave up stands below, once each."""
    heads, said = ["backend", "tiny model", *COLUMNS.values()], {}
    lines = [heads, ["---"] * len(heads)]
    for (backend, kind, family, _), cells in zip(CASES, found, strict=True):
        name = f"`{backend}`" if backend.startswith("mllmu_") else f"`{backend}` ({kind})"
        lines.append([name, family, *(_short(cells[key], said) for key in COLUMNS)])
    table = "\n".join("| " + " | ".join(line) + " |" for line in lines)
    return table + "\n\n" + "\n".join(f"{number}. `{words}`" for words, number in said.items())


def _short(text: str, said: dict[str, int]) -> str:
    verdict, colon, words = text.partition(": ")
    words = words.replace("`", "'")  # they stand in backticks
    return f"{verdict} ({said.setdefault(words, len(said) + 1)})" if colon else _cell(text)


def _cell(text: str) -> str:
    """Our own words, which may hold Markdown."""
    return printable(text).replace("|", "\\|").replace("<", "&lt;")


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
        package = (error.name or "").partition(".")[0]
        if package in sys.modules:
            return f"needs a module that the installed {package} does not have"
        return f"needs the package {package}, which is not installed here"
    except Exception as error:
        return f"its import fails: {type(error).__name__}: {' '.join(str(error).split())[:100]}"
    finally:
        logger.remove(sink)
    if said:
        return "says on import that something it needs is not installed"
    return "its import works, which does not say that it starts: no tiny model of its kind here, or a service elsewhere"


def main() -> None:
    packages = ("lmms-eval", "transformers", "peft", "torch")
    made_with = ", ".join(f"{name} {version(name)}" for name in packages)
    tables = {"versions": made_with + ".", "not-run": not_run(), "ran": as_table(ran())}
    text = DOC.read_text(encoding="utf-8")
    for mark, table in tables.items():
        start, end = f"<!-- {mark} -->\n", f"<!-- /{mark} -->"
        head, rest = text.split(start)
        text = f"{head}{start}{table}\n{end}{rest.split(end)[1]}"
    DOC.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
