"""A policy file (YAML) -> rules. Whatever is not understood is an error, never ignored."""

import itertools
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path

from mllmu_tasks import strict_yaml
from mllmu_tasks.errors import UserError, did_you_mean, quoted, shown
from mllmu_tasks.results.gate.declared import Declared, parse_declared
from mllmu_tasks.results.gate.names import Names, default_names, default_text, parse_names
from mllmu_tasks.results.gate.rules import SCORE, Bound, Rule, checked
from mllmu_tasks.user_files import read_text

FORMAT = 1
__all__ = ["Policy", "default_text", "load_policy", "parse_policy"]
KEYS = ("format", "level", "least_answered", "ratio", "declared", "names", "rules")
RULE_KEYS = (
    *("split", "ratio", "task", "modality", "metric", "benchmark", "at_most", "at_least", "guard", "point", "name"),
)
EACH = "each"
GUARD = "modality"


@dataclass(frozen=True)
class Policy:
    """level: of the tests. least_answered: retain and real leaves below it are never HELD. source: where it is from.

    declared: what the caller says of models and people where no record does. names: what the rules may name.
    """

    rules: tuple[Rule, ...]
    level: float = 0.05
    least_answered: float = 0.95
    source: str = ""
    declared: Declared = field(default_factory=Declared)
    names: Names = field(default_factory=default_names)


def load_policy(path: Path | None) -> Policy:
    """The policy of a file, or the default one. Raises UserError."""
    if path is None:
        return parse_policy(default_text(), "default policy")
    return parse_policy(read_text(path, f"the policy '{path}'"), str(path))


def parse_policy(text: str, source: str) -> Policy:
    """Raises UserError for anything that is not understood, naming the place."""
    data = _mapping(strict_yaml.load(text, source), KEYS, source)
    if data.get("format", FORMAT) != FORMAT:
        raise UserError(f"{source}: format {shown(data['format'])} is not known; this version reads format {FORMAT}.")
    given = data.get("rules")
    if not isinstance(given, list) or not given:
        raise UserError(f"{source}: 'rules' must be a list with at least one rule.")
    names = parse_names(data["names"], source) if "names" in data else default_names()
    ratio = _ratio(data.get("ratio"), names, source)
    rules = tuple(r for n, raw in enumerate(given, start=1) for r in _rules(raw, ratio, names, f"{source}, rule {n}"))
    return Policy(
        rules=rules,
        level=_number(data, "level", 0.05, 0.5, source),
        least_answered=_number(data, "least_answered", 0.95, 1.0, source),
        source=source,
        declared=parse_declared(data.get("declared"), source),
        names=names,
    )


def _rules(raw: object, ratio: int | None, names: Names, where: str) -> Iterator[Rule]:
    """One entry is several rules where it says `each`, gives a list, or has guards beside it."""
    raw = _mapping(raw, RULE_KEYS, where)
    if ("split" in raw) == ("benchmark" in raw):
        raise UserError(f"{where}: give 'split' (whom it asks about) or 'benchmark' (another task), one of the two.")
    if ("at_most" in raw) == ("at_least" in raw):
        raise UserError(f"{where}: give 'at_most' or 'at_least', one of the two.")
    side = "at_most" if "at_most" in raw else "at_least"
    common = {
        "bound": Bound.parse(raw[side], f"{where}, {side}"),
        "ceiling": side == "at_most",
        "point": _flag(raw.get("point", False), where),
        "label": _text(raw.get("name", ""), "name", where),
        "source": where,
    }
    if "benchmark" in raw:
        for key in ("task", "modality", "ratio", "guard"):
            if key in raw:
                raise UserError(f"{where}: '{key}' is for splits, not for a benchmark.")
        benchmark = _text(raw["benchmark"], "benchmark", where)
        if "metric" not in raw:
            raise UserError(f"{where}: name the 'metric' of {benchmark}, as in its results (for example acc).")
        metric = _text(raw["metric"], "metric", where)
        yield checked(Rule(**common, benchmark=benchmark, metric=metric), names.metrics)
        return
    metric = _text(raw.get("metric", SCORE), "metric", where)
    ratio = _ratio(raw["ratio"], names, where) if "ratio" in raw else ratio
    splits = [split for split in _choices(raw, "split", names.splits, where) if split is not None]
    tasks = _choices(raw, "task", names.tasks, where)
    modalities = _choices(raw, "modality", names.modalities, where)
    guarded = _guarded(raw, where)
    for split, task, modality in itertools.product(splits, tasks, modalities):
        ratio_of_split = ratio if names.splits.get(split, (ratio,)) else None
        rule = Rule(**common, metric=metric, split=split, ratio=ratio_of_split, task=task, modality=modality)
        yield checked(rule, names.metrics)
        for alone in names.modalities if guarded else ():
            yield checked(replace(rule, modality=alone, guard=True), names.metrics)


def _guarded(raw: dict, where: str) -> bool:
    """`guard: modality`: the rule pools modalities, and each of them alone may break it."""
    if "guard" not in raw:
        return False
    if raw["guard"] != GUARD:
        raise UserError(f"{where}: guard '{raw['guard']}' is not known; write 'guard: {GUARD}'.")
    if "modality" in raw:
        raise UserError(
            f"{where}: 'guard: {GUARD}' is for a rule that pools modalities; leave out one of the two keys."
        )
    return True


def _choices(raw: dict, key: str, each: Iterable[str], where: str) -> list[str | None]:
    """None: all pooled. `each`: one rule for each of these. A name or a list of names: one rule each.

    Whether the names are known is said where the results are (`names.require_known`).
    """
    value = raw.get(key)
    if value is None:
        return [None]
    if value == EACH:
        return list(each)
    chosen = value if isinstance(value, list) else [value]
    for item in chosen:
        if not isinstance(item, str):
            raise UserError(f"{where}: {key} {quoted(item)} is not known.{did_you_mean(str(item), (*each, EACH))}")
    if not chosen:
        raise UserError(f"{where}: an empty list names nothing; leave {key} out to pool all.")
    return chosen


def _mapping(value: object, known: tuple[str, ...], where: str) -> dict:
    if not isinstance(value, dict):
        raise UserError(f"{where}: expected keys and values, not {quoted(value)}.")
    for key in value:
        if key not in known:
            raise UserError(f"{where}: {quoted(key)} is not known.{did_you_mean(str(key), known)}")
    return value


def _ratio(value: object, names: Names, where: str) -> int | None:
    if value is not None and (isinstance(value, bool) or value not in names.ratios):
        raise UserError(f"{where}: ratio {quoted(value)} is not one of {', '.join(map(str, names.ratios))}.")
    return value


def _number(data: dict, key: str, default: float, most: float, where: str) -> float:
    value = data.get(key, default)
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 < value <= most:
        raise UserError(f"{where}: {key} {quoted(value)} is no number above 0 and at most {most:g}.")
    return float(value)


def _flag(value: object, where: str) -> bool:
    if not isinstance(value, bool):
        raise UserError(f"{where}: point {quoted(value)} is neither true nor false.")
    return value


def _text(value: object, key: str, where: str) -> str:
    if not isinstance(value, str):
        raise UserError(f"{where}: {key} {quoted(value)} is no text.")
    return value
