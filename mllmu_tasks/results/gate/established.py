"""What a verdict rests on: which model was asked which questions, what of it is proved, declared, or open."""

import filecmp
from collections.abc import Mapping
from dataclasses import dataclass, field

from mllmu_tasks.results.gate import asked, people, rescored
from mllmu_tasks.results.gate.declared import Declared, names_it
from mllmu_tasks.results.gate.evaluation import Evaluation, Problem
from mllmu_tasks.results.gate.identity import SHOWN, Identity, identity_of, is_replayed

KEY = {"results": "weights", "baseline": "base", "reference": "reference"}
"""What of `declared:` names a side."""


@dataclass
class Established:
    """problems: by role of the side. The others are sentences for the verdict."""

    problems: dict[str, list[Problem]] = field(default_factory=dict)
    proved: list[str] = field(default_factory=list)
    declared: list[str] = field(default_factory=list)
    open: list[str] = field(default_factory=list)


def establish(sides: Mapping[str, Evaluation], declared: Declared, allow_replay: bool = False) -> Established:
    """Of all sides of a check, the judged one as `results`. allow_replay: replayed answers are judged as they are."""
    known = Established({role: [] for role in sides})
    who: dict[str, Identity | None] = {}
    for role, side in sides.items():
        who[role], found = identity_of(side)
        known.problems[role] += [*found, *asked.problems(side, who[role], declared), *rescored.problems(side)]
        if is_replayed(side):
            _replayed(known, side, allow_replay)
        else:
            _answerer(known, side, who[role], declared)
    results, replayed = sides["results"], any(map(is_replayed, sides.values()))
    if not is_replayed(results):
        known.problems["results"] += people.problems(results, who["results"], declared.people)
        _people(known, who["results"], declared)
    for role, side in sides.items():
        if role == "results":
            continue
        known.problems[role] += asked.unlike(results, side)
        known.problems[role] += [Problem(role, "", text) for text in _same(results, side)]
        if not replayed:
            compare = _baseline if role == "baseline" else _reference
            texts = [*compare(known, sides, who, declared), *_otherwise_asked(who["results"], who[role], role)]
            known.problems[role] += [Problem(role, "", text) for text in texts]
    _say(known, results, declared)
    return known


def _replayed(known: Established, side: Evaluation, allowed: bool) -> None:
    text = "answers were replayed (mllmu_replay), no model was asked"
    if allowed:
        known.open.append(f"{side.role}: {text}; --allow-replay lets them be judged")
    else:
        problem = Problem(side.role, "", f"{text}; --allow-replay judges them all the same", hides=False)
        known.problems[side.role].append(problem)


def _answerer(known: Established, side: Evaluation, who: Identity | None, declared: Declared) -> None:
    key = KEY[side.role]
    name = getattr(declared, key)
    fits = any(names_it(name, run, who) for run in side.runs)
    if name and not fits:
        text = f"the policy declares '{name:.80}' as {key}, and {side.name:.80} was evaluated"
        known.problems[side.role].append(Problem(side.role, "", text, hides=False))
    elif who is None and name:
        known.declared.append(f"{side.role}: {key} is '{name}'; which weights answered is not recorded")
    elif who is None:
        text = (
            f"does not say which weights answered (the backend {side.runs[0].model:.40} or an earlier version records "
            f"none); evaluate with mllmu_hf, or declare '{key}' in the policy"
        )
        known.problems[side.role].append(Problem(side.role, "", text, hides=False))
    else:
        known.proved.append(f"{side.role}: answered by {who} ({who.architecture})")
        for place, kept in who.kept.items():
            if isinstance(kept, Mapping):
                text = f"{kept.get('answers')} answers are those of an earlier run with the same weights, adapter and"
                known.proved.append(f"{side.role}: {text} prompts ({place}, {str(kept.get('run'))[:SHOWN]})")


def _people(known: Established, who: Identity | None, declared: Declared) -> None:
    if who and who.forgot:
        known.proved.append(f"results: {len(who.forgot)} people are forgotten by the model's own record")
    elif declared.people and (who is None or who.forgot is None):
        known.declared.append(f"results: {len(declared.people)} people are forgotten")


def _same(results: Evaluation, side: Evaluation) -> list[str]:
    """Whether a side is the judged run, or a copy of it."""
    pairs = [(mine.file, theirs.file) for mine in results.runs for theirs in side.runs]
    if any(mine.samefile(theirs) or filecmp.cmp(mine, theirs, shallow=False) for mine, theirs in pairs):
        return [f"is the judged run itself; name another run as --{side.role}"]
    return []


def _arguments(side: Evaluation) -> set[tuple[str, str]]:
    return {(run.model, run.model_args) for run in side.runs}


def _baseline(
    known: Established, sides: Mapping[str, Evaluation], who: Mapping[str, Identity | None], declared: Declared
) -> list[str]:
    judged, there = who["results"], who["baseline"]
    if judged is None and there is None and _arguments(sides["results"]) == _arguments(sides["baseline"]):
        return ["has the model arguments of the judged run; a baseline is the model before unlearning"]
    if there and there.adapter:
        return [f"has an adapter ({there.adapter[:SHOWN]}); a baseline is the model before unlearning"]
    if judged and there and (judged.weights, judged.adapter) == (there.weights, there.adapter):
        return ["has the weights of the judged model; a baseline is the model before unlearning"]
    base = judged.base if judged else ""
    if base and there:
        if base != there.weights:
            return [
                f"is another model (weights {there.weights[:SHOWN]}) than the one that was unlearned ({base[:SHOWN]})"
            ]
        known.proved.append("baseline: is the untouched model that was unlearned")
        return []
    if not declared.base:
        why = "neither an adapter nor a record says which model was unlearned" if there else "its weights are not known"
        return [f"nothing shows that it is the model before unlearning ({why}); declare 'base' in the policy"]
    if base and declared.base != base and not any(names_it(declared.base, run, None) for run in sides["baseline"].runs):
        return [f"the policy declares '{declared.base:.80}' as base, and {base[:SHOWN]} was unlearned"]
    if there:
        known.declared.append(f"baseline: '{declared.base}' is the model that was unlearned")
    return []


def _reference(
    known: Established, sides: Mapping[str, Evaluation], who: Mapping[str, Identity | None], declared: Declared
) -> list[str]:
    judged, there = who["results"], who["reference"]
    if judged and there:
        if (judged.weights, judged.adapter) == (there.weights, there.adapter):
            return ["is the judged model itself; a reference is a model that never knew these people"]
        if there.weights == (judged.base or declared.base):
            return ["has the weights of the model that was unlearned, which knew these people"]
        if there.architecture != judged.architecture:
            return [f"is a {there.architecture}, the judged model a {judged.architecture}; give one of that kind"]
        known.proved.append("reference: is another model of the same architecture")
    elif not declared.reference:
        return ["nothing shows which model it is; declare 'reference' in the policy"]
    if there and judged and judged.forgot and set(judged.forgot) <= set(there.forgot or ()):
        known.proved.append("reference: was trained without these people by its own record")
    else:
        known.open.append("reference: whether it never saw these people is recorded nowhere")
    return []


def _otherwise_asked(judged: Identity | None, there: Identity | None, role: str) -> list[str]:
    """What turns questions into prompts, and numbers into answers, beside weights."""
    if judged is None or there is None:
        return []
    of_adapter = judged.system_of == "adapter"
    texts = {
        "the chat template is not that of the results": role == "baseline" and judged.forms != there.forms,
        "the system text is not that of the results": judged.system != there.system and not of_adapter,
        "the processor is not that of the results": (
            judged.weights == there.weights and judged.processor != there.processor
        ),
        f"the dtype is {there.dtype}, in the results {judged.dtype}; evaluate both with the same dtype=": (
            role == "baseline" and judged.dtype != there.dtype
        ),
    }
    return [text for text, differs in texts.items() if differs]


def _say(known: Established, results: Evaluation, declared: Declared) -> None:
    data = {
        f"{facts.get('data')} ({facts['whole_data']})" for facts in results.facts.values() if facts.get("whole_data")
    }
    known.proved += [f"results: asked about data {named}" for named in sorted(data)]
    if declared.gen_kwargs:
        known.declared.append(f"generation settings {dict(declared.gen_kwargs)}")
    if declared.system_prompt:
        known.declared.append(f"system text '{declared.system_prompt[:80]}'")
    tasks = sorted({task for run in results.runs for task in run.other_results})
    if tasks:
        named = ", ".join(tasks[:4]) + (f" and {len(tasks) - 4} more" if len(tasks) > 4 else "")
        known.open.append(f"the scores of {named} are taken as they were logged; only MLLMU scores are recomputed")
