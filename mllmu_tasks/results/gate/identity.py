"""Who answered: what the leaves of a side recorded of the weights and adapter that were opened."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from mllmu_tasks.results.gate.evaluation import Evaluation, Problem

REPLAY = "mllmu_replay"
TEXTS = (
    *("model", "pretrained", "weights", "architecture", "dtype", "adapter", "made_from"),
    *("forms", "processor", "system", "system_of", "base_by"),
)
SHOWN = 8
"""So many digits of a hash tell two apart in a sentence."""


@dataclass(frozen=True)
class Identity:
    """As `mllmu_tasks.harness.answerer.Answerer` records it. kept: place -> answers that were taken from there, and the
    hash of the run that made them.
    """

    model: str = ""
    pretrained: str = ""
    weights: str = ""
    architecture: str = ""
    dtype: str = ""
    adapter: str = ""
    made_from: str = ""
    forms: str = ""
    processor: str = ""
    system: str = ""
    system_of: str = ""
    base_by: str = ""
    forgot: tuple[str, ...] | None = None
    kept: Mapping[str, Any] = field(default_factory=dict, compare=False)

    @property
    def base(self) -> str:
        """Fingerprint of the untouched base model; "" if it is not known.

        That of an adapter is the model it was put on, unless the caller said so against what could be compared.
        """
        if self.base_by == "declared" and self.made_from != self.weights:
            return ""
        return self.weights if self.adapter else self.made_from

    def __str__(self) -> str:
        adapter = f" with adapter {self.adapter[:SHOWN]}" if self.adapter else ""
        return f"weights {self.weights[:SHOWN]}{adapter}"


def is_replayed(side: Evaluation) -> bool:
    return any(run.model == REPLAY for run in side.runs) or any(
        _record(facts).get("model") == REPLAY for facts in side.facts.values()
    )


def identity_of(side: Evaluation) -> tuple[Identity | None, list[Problem]]:
    """Who answered all leaves of a side, None if no leaf says; and what contradicts that."""
    found = {leaf: _parse(_record(facts)) for leaf, facts in side.facts.items()}
    known = {leaf: who for leaf, who in found.items() if who and who.weights}
    if not known:
        return None, []
    usual = Counter(known.values()).most_common(1)[0][0]
    problems = [
        Problem(side.role, leaf, "does not say which weights answered, as other leaves do", hides=False)
        for leaf in found.keys() - known.keys()
    ]
    others = {leaf: who for leaf, who in known.items() if who != usual}
    problems += [
        Problem(side.role, leaf, f"was answered by {who}, other leaves by {usual}", hides=False)
        for leaf, who in others.items()
    ]
    problems += [
        Problem(side.role, "", f"was called {run.model}, and {usual.model} answered", hides=False)
        for run in side.runs
        if run.leaves and run.model != usual.model
    ]
    problems += [
        Problem(side.role, task, "its results file does not say which weights answered; run it beside MLLMU tasks")
        for run in side.runs
        if not run.leaves
        for task in run.other_results
    ]
    return usual, problems


def _record(facts: Mapping[str, Any]) -> Mapping[str, Any]:
    record = facts.get("answered_by")
    return record if isinstance(record, Mapping) else {}


def _parse(record: Mapping[str, Any]) -> Identity | None:
    """A record from outside: whatever has another type counts as not recorded."""
    if not record:
        return None
    texts = {key: value if isinstance(value := record.get(key), str) else "" for key in TEXTS}
    forgot = record.get("forgot")
    forgot = tuple(sorted(map(str, forgot))) if isinstance(forgot, list) else None
    kept = record.get("kept")
    return Identity(**texts, forgot=forgot, kept=kept if isinstance(kept, Mapping) else {})
