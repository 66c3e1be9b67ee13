"""Whom a model says it forgot, and whom its forget questions are about: a score of other people says little."""

from collections.abc import Iterable, Iterator, Sequence

from mllmu_tasks.results.columns import FORGET, RETAIN, Leaf
from mllmu_tasks.results.gate.evaluation import Evaluation, Problem
from mllmu_tasks.results.gate.identity import Identity

NAMED = 5
"""So many ids are named in a sentence."""
REMEDY = "evaluate it with its own ratio, or with the data of `mllmu data request`"


def problems(side: Evaluation, who: Identity | None, declared: Sequence[str]) -> list[Problem]:
    """Leaves that ask about others than were forgotten, or of which nobody says whom."""
    forgotten = set(declared) if who is None or who.forgot is None else set(who.forgot)
    found = []
    if who and who.forgot is not None and declared and forgotten != set(declared):
        text = f"the policy declares {_listed(declared)} as forgotten, and the model's record says {_listed(forgotten)}"
        found.append(Problem(side.role, "", text, hides=False))
    nobody = who is not None and who.forgot == ()
    for leaf in _leaves(side):
        found += _of_leaf(side, leaf, forgotten, nobody)
    return found


def _of_leaf(side: Evaluation, leaf: Leaf, forgotten: set[str], nobody: bool) -> Iterator[Problem]:
    asked = _asked(side, leaf)
    if leaf.role != FORGET:
        kept = asked & forgotten if leaf.role == RETAIN and not _has_own_people(side, leaf) else set()
        if kept:
            yield Problem(side.role, leaf.name, f"asks about {_listed(kept)}, whom the model forgot; {REMEDY}")
        return
    if not forgotten:
        why = "the model's record says that it forgot nobody" if nobody else "nothing says whom the model forgot"
        remedy = "" if nobody else " (no unlearning.yaml was read); declare 'people' in the policy"
        yield Problem(side.role, leaf.name, f"{why}{remedy}", hides=False)
        return
    if others := asked - forgotten:
        yield Problem(side.role, leaf.name, f"asks about {_listed(others)}, whom the model did not forget; {REMEDY}")
    if missing := forgotten - asked:
        text = f"asks nothing about {_listed(missing)}, whom the model forgot; {REMEDY}"
        yield Problem(side.role, leaf.name, text, hides=False)


def _has_own_people(side: Evaluation, leaf: Leaf) -> bool:
    """Whether it is about people beside those who are divided, such as celebrities, with ids of their own."""
    return leaf.ratio is None and any(o.ratio for o in _leaves(side) if o.benchmark == leaf.benchmark)


def _leaves(side: Evaluation) -> list[Leaf]:
    return [leaf for run in side.runs for leaf in run.leaves]


def _asked(side: Evaluation, leaf: Leaf) -> set[str]:
    """Everyone of a forget set, those too who were shown or left out; of the other splits, who was asked about."""
    people = {sample.person for sample in side.samples[leaf.name]}
    facts = side.facts[leaf.name]
    if leaf.role == FORGET:
        forget_set = facts.get("whom")
        more = forget_set if isinstance(forget_set, list) else facts.get("shot_people")
        people |= set(map(str, more)) if isinstance(more, list) else set()
    return people


def _listed(ids: Iterable[str]) -> str:
    ids = sorted(ids)
    more = f" and {len(ids) - NAMED} more" if len(ids) > NAMED else ""
    return f"{', '.join(ids[:NAMED])}{more}" or "nobody"
