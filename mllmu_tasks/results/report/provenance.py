"""Where the numbers come from: the command of each row, settings, hashes, seeds, versions, answered rates."""

import json
import re
import shlex
from collections.abc import Sequence
from dataclasses import dataclass

from mllmu_tasks import __version__
from mllmu_tasks.results.report.gather import Row, Study
from mllmu_tasks.results.report.people_figures import evaluation_seconds
from mllmu_tasks.results.report.training import Training
from mllmu_tasks.results.runs import Run

_SECRET = re.compile(r"\b(\w*(?:key|token|secret|password)\w*)=[^,\s]*", re.IGNORECASE)
_FLAGS = ("model", "model_args", "tasks", "batch_size", "limit", "offset", "gen_kwargs", "system_instruction", "seed")
_UNSET = (None, "", 0, "0", False, [0, 1234, 1234, 1234])


@dataclass(frozen=True)
class Origin:
    """Of one row: facts to show as a table line, and the commands that made it."""

    row: str
    facts: dict[str, str]
    answered: dict[str, float]
    commands: tuple[str, ...]
    files: tuple[str, ...]


def origins(found: Study) -> list[Origin]:
    return [
        Origin(
            row=row.name,
            facts={
                "date": ", ".join(run.date for run in row.side.runs),
                "backend": ", ".join(sorted({run.model for run in row.side.runs})),
                "prompts": ", ".join(sorted({run.prompt_style for run in row.side.runs})),
                "seconds": "" if (s := evaluation_seconds(row)) is None else f"{s:.0f}",
                "lmms-eval": ", ".join(
                    sorted({str(run.about.get("lmms_eval_version") or "?") for run in row.side.runs})
                ),
                **_settings(row),
            },
            answered=_answered(found, row),
            commands=tuple(command(run) for run in row.side.runs),
            files=tuple(str(run.file) for run in row.side.runs),
        )
        for row in found.rows
    ]


def command(run: Run) -> str:
    """The lmms-eval command line, from lmms-eval's own record; values of secret-looking arguments are hidden."""
    said = run.config | (run.config.get("resolved_cli_args") or {})
    settings = next((facts for facts in run.facts.values() if facts), {})
    environment = {
        "MLLMU_DATA": settings.get("data"),
        "MLLMU_SEED": settings.get("seed"),
        "MLLMU_SHOTS": _shots(settings.get("shots")),
        "MLLMU_SHOT_QUESTIONS": settings.get("shot_questions"),
    }
    usual = {"MLLMU_SEED": 0, "MLLMU_SHOTS": "1,2"}
    parts = [f"{k}={shlex.quote(str(v))}" for k, v in environment.items() if v is not None and v != usual.get(k)]
    parts.append("lmms-eval")
    for flag in _FLAGS:
        value = said.get(flag)
        if value not in _UNSET:
            parts += [f"--{flag}", shlex.quote(_text(value))]
    return _SECRET.sub(r"\1=***", " ".join([*parts, "--log_samples"]))


def training_facts(trainings: Sequence[Training]) -> list[dict[str, str]]:
    """One line a training run: method, hyper-parameters, base, people, data, seed, versions."""
    lines = []
    for training in trainings:
        record = training.record
        base, forget = record.get("base_model") or {}, record.get("forget") or {}
        hypers = (record.get("hyper_parameters") or {}).items()
        lines.append(
            {
                "run": training.name,
                "method": str(record.get("method", "")),
                "protocol": str(record.get("protocol", "")),
                "hyper-parameters": ", ".join(f"{key} {value}" for key, value in hypers),
                "base": str(base.get("fingerprint") or base.get("name_or_path") or "")[:12],
                "forgotten": str(len(forget.get("ids") or [])),
                "data": str((record.get("data") or {}).get("hash", ""))[:12],
                "seed": str(record.get("seed", "")),
                "versions": ", ".join(f"{k} {v}" for k, v in (record.get("versions") or {}).items()),
            }
        )
    return lines


def written_by() -> str:
    return f"mllmu {__version__}"


def _settings(row: Row) -> dict[str, str]:
    facts = [f for f in row.side.facts.values() if f]
    one = lambda key: ", ".join(sorted({_text(f[key]) for f in facts if f.get(key) is not None}))
    hashes = sorted({str(f.get("data_hash"))[:12] for f in facts})
    shown = f"{hashes[0]} and {len(hashes) - 1} more" if len(hashes) > 2 else ", ".join(hashes)
    return {"data": one("data"), "data hash": shown, "seed": one("seed"), "shots": one("shots")}


def _answered(found: Study, row: Row) -> dict[str, float]:
    rates = {}
    for split in found.splits:
        leaves = [leaf.name for (name, _, _), leaf in found.leaves.items() if name == split]
        asked = [sample.answered for leaf in leaves for sample in row.side.samples.get(leaf, ())]
        if asked:
            rates[split] = sum(asked) / len(asked)
    return rates


def _shots(value: object) -> str | None:
    return ",".join(map(str, value)) if isinstance(value, list) else None


def _text(value: object) -> str:
    if isinstance(value, list):
        return ",".join(map(str, value))
    return json.dumps(value) if isinstance(value, dict) else str(value)
