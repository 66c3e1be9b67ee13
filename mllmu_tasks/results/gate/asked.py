"""Were all leaves of a side asked the questions that this package ships, in one way, and scored by one scorer?"""

import json
from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Any

from mllmu_tasks.artifacts.identity import short_hash
from mllmu_tasks.harness.task_config import GENERATION, config_hash
from mllmu_tasks.results.gate.declared import Declared
from mllmu_tasks.results.gate.identity import Identity
from mllmu_tasks.results.gate.sides import Problem, Side
from mllmu_tasks.results.runs import Run
from mllmu_tasks.scorers.text import SCORING

SHARED = ("whole_data", "seed", "shots", "shot_questions", "scoring")
RECORDED = ("whole_data", "scoring", "configuration", "generation")
"""What versions before these checks did not record."""
REASONING = '[["<think>", "</think>"], ["<analysis>", "</analysis>"]]'
"""What lmms-eval cuts out of answers unless told otherwise."""


def problems(side: Side, who: Identity | None, declared: Declared) -> list[Problem]:
    """What is not as it is shipped, or not the same in all leaves.

    Nothing of it hides that the judged model remembers; of another side it hides what it is compared with.
    """
    found = [*_recorded(side), *_shared(side), *_data(side, declared), *_configurations(side, declared)]
    found += [("", text) for run in side.runs for text in _command_line(run, who, declared)]
    return [Problem(side.role, leaf, text, hides=side.role != "results") for leaf, text in dict.fromkeys(found)]


def unlike(results: Side, other: Side) -> list[Problem]:
    """Leaves that were asked or scored in another way on the other side, or about other data on the whole."""
    mine, theirs = _ways(results), _ways(other)
    found = [
        Problem(other.role, leaf, f"not as in the results: {what}")
        for leaf in results.facts.keys() & other.facts.keys()
        for what, value in mine[leaf].items()
        if theirs[leaf][what] != value
    ]
    data = [{str(facts.get("whole_data")) for facts in side.facts.values() if facts} for side in (results, other)]
    if data[0] != data[1] and not any("@" in value for value in data[0] | data[1]):
        found.append(Problem(other.role, "", "was asked about other data than the results"))
    return found


def _ways(side: Side) -> dict[str, dict[str, Any]]:
    ways = {}
    for run in side.runs:
        for leaf in run.leaves:
            config, facts = _config(run, leaf.name), run.facts[leaf.name]
            ways[leaf.name] = {
                "the task configuration": config_hash(config) if config else None,
                "the task file that was shipped": facts.get("configuration"),
                "the generation settings": config.get(GENERATION),
                "the scoring version": facts.get("scoring"),
            }
    return ways


def _config(run: Run, leaf: str) -> Mapping[str, Any]:
    """As lmms-eval recorded it; {} if it did not."""
    used = run.about.get("configs")
    config = used.get(leaf) if isinstance(used, Mapping) else None
    return config if isinstance(config, Mapping) else {}


def _recorded(side: Side) -> Iterator[tuple[str, str]]:
    for leaf, facts in side.facts.items():
        missing = [key for key in RECORDED if facts.get(key) is None]
        if missing:
            yield leaf, f"does not record {', '.join(missing)}, as results of an earlier version; evaluate again"
        elif facts["scoring"] != SCORING:
            yield leaf, f"was scored by version {facts['scoring']!s:.20}, this is version {SCORING}; evaluate again"


def _shared(side: Side) -> Iterator[tuple[str, str]]:
    for key in SHARED:
        values = {leaf: json.dumps(facts.get(key)) for leaf, facts in side.facts.items() if facts}
        if len(set(values.values())) < 2:
            continue
        usual = Counter(values.values()).most_common(1)[0][0]
        for leaf, value in values.items():
            if value != usual:
                yield leaf, f"{key} is {value[:60]}, in other leaves of the same verdict it is {usual[:60]}"


def _data(side: Side, declared: Declared) -> Iterator[tuple[str, str]]:
    for leaf, facts in side.facts.items() if declared.data else ():
        if facts.get("whole_data") not in (None, declared.data):
            yield leaf, f"whole_data is {facts['whole_data']!s:.60}, the policy declares {declared.data:.60}"


def _configurations(side: Side, declared: Declared) -> Iterator[tuple[str, str]]:
    for run in side.runs:
        for leaf in run.leaves:
            facts, config = run.facts[leaf.name], _config(run, leaf.name)
            if facts.get("configuration") is None or facts.get("generation") is None:
                continue  # said already
            if not config:
                yield leaf.name, "the results file lacks the task configuration"
                continue
            if config_hash(config) != facts["configuration"]:
                yield leaf.name, "was asked by another task file than mllmu ships (--include_path?)"
            changed = _changed(config.get(GENERATION), facts["generation"], declared.gen_kwargs)
            if changed:
                text = "generation settings are not those of the task files"
                yield leaf.name, f"{text} ({changed}); declare them as 'gen_kwargs' in the policy if you mean them"


def _changed(used: Any, shipped: Any, declared: Mapping[str, Any]) -> str:
    used, shipped = (dict(value) if isinstance(value, Mapping) else {} for value in (used, shipped))
    wanted = {**shipped, **declared}
    keys = [key for key in sorted({*used, *wanted}) if used.get(key) != wanted.get(key)]
    return ", ".join(f"{key} is {used.get(key)!s:.40} for {wanted.get(key)!s:.40}" for key in keys)


def _command_line(run: Run, who: Identity | None, declared: Declared) -> Iterator[str]:
    command = run.config.get("resolved_cli_args")
    tags = command.get("reasoning_tags") if isinstance(command, Mapping) else None
    if tags is not None and tags != REASONING:
        yield f"--reasoning_tags {tags!s:.60} cut answers in another way than usual"
    if isinstance(command, Mapping) and command.get("cache_requests"):
        yield "--cache_requests may have asked the questions of another day; evaluate without it"
    texts = {text for text in (run.about.get("system_instruction"), run.argument("system_prompt")) if text}
    given = {short_hash(str(text)) for text in texts}
    if who and who.system_of == "command line":
        given = {who.system}  # of the text itself, where the command line may name a file
    if given - {short_hash(declared.system_prompt)}:
        yield "a system text was given on the command line; put it into the policy: declared, system_prompt"
