"""Rules and results -> verdicts. HELD and BROKEN are shown by a test; everything else is UNDECIDED, with the reason."""

import math
from collections.abc import Sequence
from dataclasses import replace

from mllmu_tasks.errors import UserError, did_you_mean
from mllmu_tasks.results.columns import USUAL_RATIO
from mllmu_tasks.results.gate import other_benchmarks
from mllmu_tasks.results.gate.established import establish
from mllmu_tasks.results.gate.evaluation import Evaluation, Problem, grouped, incomparable
from mllmu_tasks.results.gate.names import leaves_of, require_known
from mllmu_tasks.results.gate.outcomes import Gate, Outcome, Reason, Verdict
from mllmu_tasks.results.gate.policy import Policy
from mllmu_tasks.results.gate.rules import COUNTS, MEASURED, SCORE, Rule
from mllmu_tasks.results.runs import Sample
from mllmu_tasks.results.stats.contrast import Contrast, Kind, Reported, holm
from mllmu_tasks.results.stats.scale import Rescaled, contrast_of


def judge(
    policy: Policy,
    results: Evaluation,
    baseline: Evaluation | None = None,
    reference: Evaluation | None = None,
    *,
    warn: bool = False,
    allow_replay: bool = False,
) -> Gate:
    """All rules of the policy on the results. Raises UserError for a policy that does not fit them.

    warn: UNDECIDED for want of evidence passes. allow_replay: known answers are judged as if a model had given them.
    """
    sides = {side.role: side for side in (results, baseline, reference) if side}
    leaves = list({leaf.name: leaf for side in sides.values() for run in side.runs for leaf in run.leaves}.values())
    require_known(policy.rules, policy.names, leaves)
    known = establish(sides, policy.declared, allow_replay)
    troubles = {
        role: [*side.problems, *([] if side is results else incomparable(results, side)), *known.problems[role]]
        for role, side in sides.items()
    }
    ratio = _ratio(policy, results)
    used: list[Problem] = []
    outcomes = []
    for rule in policy.rules:
        names = [] if rule.benchmark else leaves_of(rule, rule.ratio or ratio, policy.names, leaves)
        outcomes.append(_judge_one(rule, sides, troubles, names, policy, used))
    outcomes = _with_holm(outcomes, policy.level)
    problems = tuple(dict.fromkeys(used))
    everything = [problem for found in troubles.values() for problem in found]
    idle = [problem for problem in dict.fromkeys(everything) if problem not in problems]
    notes = [f"no rule is concerned: {line}" for line in grouped(idle)]
    notes += _notes(results, sides)
    return Gate(
        outcomes=tuple(sorted(outcomes, key=_urgency)),
        problems=problems,
        notes=tuple(notes),
        policy=policy,
        sides=tuple(sides.values()),
        warn=warn,
        proved=tuple(known.proved),
        declared=tuple(known.declared),
        open=tuple(known.open),
    )


def _ratio(policy: Policy, results: Evaluation) -> int:
    """The forget ratio of rules that do not name one."""
    undivided = {split for split, ratios in policy.names.splits.items() if not ratios}
    if len(results.ratios) > 1 and any(
        rule.split not in (None, *undivided) and not rule.ratio for rule in policy.rules
    ):
        named = ", ".join(map(str, sorted(results.ratios)))
        raise UserError(f"the results hold forget ratios {named}; say which is meant with 'ratio:' in the policy.")
    return next(iter(results.ratios), USUAL_RATIO)


def _judge_one(
    rule: Rule, sides: dict[str, Evaluation], troubles: dict[str, list], leaves: list[str], policy: Policy, used: list
) -> Outcome:
    needs = rule.bound.sides
    role = next((role for role in needs if role in sides), "")
    if needs and not role:
        given = " or ".join(f"--{name}" for name in needs)
        return Outcome(rule, Verdict.UNDECIDED, f"cannot be known without {given}", Reason.UNKNOWN)
    places = set(leaves) or {rule.benchmark}
    concerned = [sides["results"], *([sides[role]] if role else [])]
    found = [p for side in concerned for p in _missing(side, rule, leaves)]
    found += [p for side in concerned for p in troubles[side.role] if not p.leaf or p.leaf in places]
    used += found
    hidden = [problem for problem in found if problem.hides]
    if hidden:
        return Outcome(rule, Verdict.UNDECIDED, _listed(hidden), Reason.INCOMPLETE, side=role)
    outcome = _test_benchmark(rule, concerned, policy) if rule.benchmark else _test(rule, concerned, leaves, policy)
    outcome = replace(outcome, side=role)
    if found and outcome.verdict is not Verdict.BROKEN:
        return replace(outcome, verdict=Verdict.UNDECIDED, why=_listed(found), reason=Reason.INCOMPLETE)
    return outcome


def _missing(side: Evaluation, rule: Rule, leaves: Sequence[str]) -> list[Problem]:
    if rule.benchmark:
        if side.benchmark(rule.benchmark):
            return []
        known = [task for run in side.runs for task in run.other_results]
        hint = did_you_mean(rule.benchmark, known) if known else ""
        return [Problem(side.role, rule.benchmark, f"was not evaluated.{hint}".rstrip("."))]
    problems = [Problem(side.role, name, "was not evaluated") for name in leaves if name not in side.samples]
    for name in leaves if rule.metric not in (SCORE, *MEASURED) else ():
        samples = side.samples.get(name, ())
        without = sum(rule.metric not in sample.metrics for sample in samples)
        if without:
            text = f"{without} of {len(samples)} questions have no {rule.metric}; score or evaluate them again"
            problems.append(Problem(side.role, name, text))
    return problems


def _test(rule: Rule, sides: Sequence[Evaluation], leaves: Sequence[str], policy: Policy) -> Outcome:
    chosen = [_by_question(side, leaves) for side in sides]
    keys = list(chosen[0])
    people = {sample.person for sample in chosen[0].values()}
    if rule.metric in COUNTS:
        number = len(keys) if rule.metric == "questions" else len(people)
        return _compare(rule, float(number), score=float(number), people=len(people), questions=len(keys))
    here, *there = ([_value(found[key], rule.metric) for key in keys] for found in chosen)
    asked = [key[1] for key in keys]
    leaf = next(iter(chosen[0].values())).leaf
    metric = leaf.metric(rule.metric) or leaf.score
    subject = contrast_of(metric, rule.bound.kind, asked, here, there[0] if there else None, origin=bool(there))
    known = {
        "score": sum(here) / len(here),
        "other": sum(there[0]) / len(there[0]) if there else None,
        "people": subject.people,
        "questions": subject.questions,
    }
    if rule.point or rule.metric in MEASURED:
        return _compare(rule, subject.value, **known)
    return _decide(rule, subject, policy, known)


def _by_question(side: Evaluation, leaves: Sequence[str]) -> dict[tuple, Sample]:
    return {(name, s.person, s.question_index): s for name in leaves for s in side.samples[name]}


def _value(sample: Sample, metric: str) -> float:
    if metric == "answered":
        return float(sample.answered)
    return sample.score if metric == SCORE else sample.metrics[metric]


def _test_benchmark(rule: Rule, sides: Sequence[Evaluation], policy: Policy) -> Outcome:
    here, *there = (other_benchmarks.read_metric(side, rule) for side in sides)
    other = there[0] if there else None
    known = {"score": here.value, "other": other.value if other else None, "questions": len(here.single) or None}
    if rule.point:
        value = here.value
        if other:
            share = here.value / other.value if other.value else math.nan
            value = share if rule.bound.kind is Kind.SHARE else here.value - other.value
        return _compare(rule, value, **known)
    if other and here.single and other.single and set(here.single) != set(other.single):
        return Outcome(rule, Verdict.UNDECIDED, "the two sides saw other questions", Reason.INCOMPLETE, **known)
    subject = other_benchmarks.compare(rule, here, other)
    if isinstance(subject, str):
        return Outcome(rule, Verdict.UNDECIDED, subject, Reason.UNKNOWN, **known)
    return _decide(rule, subject, policy, known)


def _compare(rule: Rule, value: float, **known: float | int | None) -> Outcome:
    """Numbers as they are; floating point may not break a bound that is met exactly."""
    if math.isnan(value):
        return Outcome(rule, Verdict.UNDECIDED, "the other run scores 0: no share of it", Reason.UNKNOWN, **known)
    beyond = value - rule.bound.amount if rule.ceiling else rule.bound.amount - value
    verdict = Verdict.BROKEN if beyond > 1e-9 else Verdict.HELD
    return Outcome(rule, verdict, "measured, not tested", value=value, **known)


def _decide(rule: Rule, subject: Contrast | Rescaled | Reported, policy: Policy, known: dict) -> Outcome:
    """Both tests; the verdict BROKEN waits for Holm."""
    bound = rule.bound.amount
    if math.isnan(subject.value):
        return Outcome(rule, Verdict.UNDECIDED, "the other run scores 0: no share of it", Reason.UNKNOWN, **known)
    above, below = subject.p_above(bound), subject.p_below(bound)
    p_broken, p_held = (above, below) if rule.ceiling else (below, above)
    low, high = subject.interval(policy.level)
    kept = subject.value <= bound + 1e-9 if rule.ceiling else subject.value >= bound - 1e-9
    if rule.guard:  # broken by a test as every rule, held as measured: the pooled rule beside it is tested for that
        p_held = None
    shown = kept if p_held is None else p_held <= policy.level
    level = policy.level if kept and p_held is not None else policy.level / len(policy.rules)
    return Outcome(
        rule=rule,
        verdict=Verdict.HELD if shown else Verdict.UNDECIDED,
        why="",
        value=subject.value,
        low=low,
        high=high,
        p_broken=p_broken,
        p_held=p_held,
        needed=None if shown else subject.people_needed(bound, level),
        **known,
    )


def _with_holm(outcomes: Sequence[Outcome], level: float) -> list[Outcome]:
    """BROKEN where the adjusted p-value says so. A rule without a test counts as tested with p = 1: conservative."""
    family = [outcome for outcome in outcomes if not (outcome.p_broken is None and outcome.value is not None)]
    adjusted = dict(zip(map(id, family), holm(1.0 if o.p_broken is None else o.p_broken for o in family), strict=True))
    judged = []
    for outcome in outcomes:
        if outcome.p_broken is None:
            judged.append(outcome)
            continue
        p = adjusted[id(outcome)]
        if p <= level:
            outcome = replace(outcome, verdict=Verdict.BROKEN, reason=None, needed=None, why="")
        elif outcome.verdict is Verdict.UNDECIDED and outcome.reason is None:
            outcome = replace(outcome, reason=Reason.PEOPLE)
        judged.append(replace(outcome, p_adjusted=p, why=outcome.why or _explain(outcome)))
    return judged


def _explain(outcome: Outcome) -> str:
    what = f"{outcome.value:.3f}" if outcome.rule.bound.kind is Kind.SCORE else f"{outcome.value:+.3f}"
    if outcome.rule.bound.kind is Kind.SHARE:
        what = f"{100 * outcome.value:.1f} %"
    people = "" if outcome.people is None else f" with {outcome.people} people"
    if outcome.verdict is not Verdict.UNDECIDED:
        measured = ", measured and not tested" if outcome.verdict is Verdict.HELD and outcome.rule.guard else ""
        return f"{what}{people}{measured}"
    kept = (outcome.value <= outcome.rule.bound.amount) == outcome.rule.ceiling
    where = "meets" if kept else "misses"
    if outcome.needed and outcome.people:
        return f"{what} {where} the bound, but {outcome.people} people are too few; about {outcome.needed} would do"
    return f"{what} {where} the bound, but too closely to decide{people}"


def _listed(problems: Sequence[Problem]) -> str:
    lines = grouped(problems)
    return "; ".join(lines[:2]) + (f"; and {len(lines) - 2} more" if len(lines) > 2 else "")


def _urgency(outcome: Outcome) -> tuple:
    """What broke first, and the surest of it; then what cannot be decided; then what held."""
    order = (Verdict.BROKEN, Verdict.UNDECIDED, Verdict.HELD).index(outcome.verdict)
    return order, outcome.reason is not Reason.INCOMPLETE, outcome.p_broken if outcome.p_broken is not None else 0.0


def _notes(results: Evaluation, sides: dict[str, Evaluation]) -> list[str]:
    notes = []
    backends = {role: sorted({run.model for run in side.runs}) for role, side in sides.items()}
    for role, names in backends.items():
        if names != backends["results"]:
            notes.append(f"{role} was answered by {', '.join(names)}, the results by {', '.join(backends['results'])}")
    silent = {name: sum(not s.answered for s in found) for name, found in results.samples.items()}
    if sum(silent.values()):
        total = sum(map(len, results.samples.values()))
        worst = max(silent, key=silent.get)
        notes.append(f"{sum(silent.values())} of {total} questions not answered, most of them in {worst}")
    return notes
