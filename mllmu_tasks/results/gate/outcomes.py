"""The verdict on each rule, and the verdict on all of them."""

from dataclasses import dataclass
from enum import StrEnum

from mllmu_tasks.results.gate.evaluation import Evaluation, Problem
from mllmu_tasks.results.gate.policy import Policy
from mllmu_tasks.results.gate.rules import Rule


class Verdict(StrEnum):
    HELD = "HELD"
    BROKEN = "BROKEN"
    UNDECIDED = "UNDECIDED"


class Reason(StrEnum):
    """Why a rule is undecided."""

    PEOPLE = "people"  # the test decides neither way
    UNKNOWN = "unknown"  # there is nothing to compare with
    INCOMPLETE = "incomplete"  # the results cannot be trusted; no --undecided=warn lets this pass


@dataclass(frozen=True)
class Outcome:
    """One rule, judged.

    score, other: the means of the results and of the run they are compared with. value: what is compared with the
    bound (score, difference or share) with its one-sided limits low and high at the policy's level each.
    p_broken, p_held: of the two tests; p_adjusted: p_broken after Holm. needed: people that would decide, about.
    """

    rule: Rule
    verdict: Verdict
    why: str
    reason: Reason | None = None
    side: str = ""
    score: float | None = None
    other: float | None = None
    value: float | None = None
    low: float | None = None
    high: float | None = None
    people: int | None = None
    questions: int | None = None
    p_broken: float | None = None
    p_held: float | None = None
    p_adjusted: float | None = None
    needed: int | None = None

    @property
    def demand(self) -> str:
        """The rule's bound, with the side that was really used."""
        if not self.side:
            return self.rule.demand
        return self.rule.demand.replace(" or ".join(self.rule.bound.sides), self.side)


@dataclass(frozen=True)
class Gate:
    """All outcomes, what broke first; problems that concern rules, notes that do not.

    proved, declared, open: sentences on which model was asked what: by record, by the caller's word, and by neither.
    """

    outcomes: tuple[Outcome, ...]
    problems: tuple[Problem, ...]
    notes: tuple[str, ...]
    policy: Policy
    sides: tuple[Evaluation, ...]
    warn: bool = False
    proved: tuple[str, ...] = ()
    declared: tuple[str, ...] = ()
    open: tuple[str, ...] = ()

    @property
    def verdict(self) -> Verdict:
        verdicts = {outcome.verdict for outcome in self.outcomes}
        if Verdict.BROKEN in verdicts:
            return Verdict.BROKEN
        return Verdict.HELD if verdicts == {Verdict.HELD} and not self.problems else Verdict.UNDECIDED

    @property
    def incomplete(self) -> bool:
        return bool(self.problems) or any(o.reason is Reason.INCOMPLETE for o in self.outcomes)

    @property
    def exit_code(self) -> int:
        if self.verdict is not Verdict.UNDECIDED:
            return 0 if self.verdict is Verdict.HELD else 1
        return 0 if self.warn and not self.incomplete else 2
