"""A gate's verdict as a terminal table, Markdown, JUnit XML and JSON. All text in it may come from outside."""

import io
from xml.etree import ElementTree

from rich.console import Console
from rich.text import Text

from mllmu_tasks import __version__
from mllmu_tasks.results.gate.evaluation import grouped
from mllmu_tasks.results.gate.outcomes import Gate, Outcome, Verdict
from mllmu_tasks.results.stats.contrast import Kind
from mllmu_tasks.results.tables.rendering import UNLIMITED, Grid, as_markdown, as_text
from mllmu_tasks.text_safety import json_text, one_line, printable
from mllmu_tasks.text_safety import markdown as markdown_text

SCHEMA = 1
HEADS = ("verdict", "rule", "demand", "score", "other", "interval", "people", "p")
_COLOURS: dict[str, str] = {Verdict.BROKEN: "bold red", Verdict.UNDECIDED: "yellow", Verdict.HELD: "green"}


def headline(gate: Gate) -> str:
    """One sentence: the verdict and what decided it."""
    broken = [o for o in gate.outcomes if o.verdict is Verdict.BROKEN]
    open_rules = [o for o in gate.outcomes if o.verdict is Verdict.UNDECIDED]
    if broken:
        return f"BROKEN: {len(broken)} of {len(gate.outcomes)} rules, first {broken[0].rule.name}: {reason(broken[0])}"
    if gate.verdict is Verdict.HELD:
        return f"HELD: all {len(gate.outcomes)} rules"
    if not gate.outcomes:
        return "UNDECIDED: nothing could be judged"
    warned = " (let pass by --undecided=warn)" if gate.exit_code == 0 else ""
    return f"UNDECIDED: {len(open_rules)} of {len(gate.outcomes)} rules{warned}"


def reason(outcome: Outcome) -> str:
    if outcome.verdict is not Verdict.BROKEN:
        return outcome.why
    p = "" if outcome.p_adjusted is None else f" (p {_p(outcome.p_adjusted)})"
    against = f", {outcome.side} {outcome.other:.3f}" if outcome.other is not None else ""
    return f"{outcome.score:.3f}{against}, demanded {outcome.demand}{p}"


def method(gate: Gate) -> str:
    level = f"{100 * gate.policy.level:g} %"
    return (
        "People, not questions, are the sample. BROKEN and HELD need a cluster-robust t test and Gaffke's test of a "
        f"bounded mean (a sign-flip test for a fall against another run), both at {level}. For BROKEN, p is adjusted "
        "over the rules (Holm); HELD is tested rule by rule, since a pass needs every rule. A guard, one modality of a "
        f"pooled rule, is held as measured. Each end of an interval is a one-sided {level} limit."
    )


def text(gate: Gate, *, width: int | None = None, colour: bool = False) -> str:
    """For a terminal of this width; None: for a pipe."""
    console = Console(
        width=width or UNLIMITED, file=io.StringIO(), force_terminal=colour, no_color=not colour, highlight=False
    )
    if gate.outcomes:
        console.file.write(as_text(_grid(gate), width, colour=colour))
    for line in _explanations(gate):
        console.print(Text(one_line(line)))
    if gate.outcomes:
        console.print(Text(method(gate), style="dim"))
    console.print(Text(one_line(headline(gate)), style=_COLOURS[gate.verdict]))
    return console.file.getvalue()


def _grid(gate: Gate) -> Grid:
    sentences = frozenset(("rule", "demand", "interval"))
    left = sentences | {"verdict"}
    return Grid(HEADS, list(map(_line, gate.outcomes)), left=left, sentences=sentences, styles=_COLOURS)


def markdown(gate: Gate) -> str:
    lines = [f"### mllmu check: {markdown_text(headline(gate))}", ""]
    for side in gate.sides:
        lines.append(f"- {side.role}: {markdown_text(side.name)} ({markdown_text(side.runs[0].date)})")
    lines.append(f"- policy: {markdown_text(gate.policy.source)}")
    if gate.outcomes:
        lines += ["", as_markdown(_grid(gate))]
    lines += ["", *(f"- {markdown_text(line)}" for line in _explanations(gate))]
    if gate.outcomes:
        lines += ["", f"<sub>{markdown_text(method(gate))}</sub>"]
    return "\n".join(lines) + "\n"


def junit(gate: Gate) -> str:
    """One test case a rule, and one for completeness. BROKEN is a failure, UNDECIDED an error or, warned, skipped."""
    undecided = "skipped" if gate.exit_code == 0 else "error"
    suite = ElementTree.Element("testsuite", name="mllmu check")
    properties = ElementTree.SubElement(suite, "properties")
    for kind, lines in _grounds(gate).items():
        for line in lines:
            ElementTree.SubElement(properties, "property", name=printable(kind), value=printable(line))
    for outcome in gate.outcomes:
        case = ElementTree.SubElement(
            suite, "testcase", classname="mllmu.check", name=printable(f"{outcome.rule.name} {outcome.demand}")
        )
        if outcome.verdict is not Verdict.HELD:
            kind = "failure" if outcome.verdict is Verdict.BROKEN else undecided
            message = printable(f"{outcome.verdict}: {reason(outcome)}")
            ElementTree.SubElement(case, kind, message=message).text = message
    case = ElementTree.SubElement(suite, "testcase", classname="mllmu.check", name="results are complete")
    if gate.problems:
        message = printable("\n".join(grouped(gate.problems)))
        ElementTree.SubElement(case, "error", message=message).text = message
    counts = {kind: len(suite.findall(f"testcase/{kind}")) for kind in ("failure", "error", "skipped")}
    totals = {
        "tests": str(len(suite.findall("testcase"))),
        "failures": str(counts["failure"]),
        "errors": str(counts["error"]),
        "skipped": str(counts["skipped"]),
    }
    suite.attrib.update(totals)
    root = ElementTree.Element("testsuites", {key: value for key, value in totals.items() if key != "skipped"})
    root.append(suite)
    ElementTree.indent(root)
    return '<?xml version="1.0" encoding="utf-8"?>\n' + ElementTree.tostring(root, encoding="unicode") + "\n"


def as_json(gate: Gate) -> str:
    """Everything, for machines; infinite limits are null."""
    data = {
        "schema": SCHEMA,
        "version": __version__,
        "verdict": gate.verdict,
        "exit_code": gate.exit_code,
        "headline": headline(gate),
        "policy": {
            "source": gate.policy.source,
            "level": gate.policy.level,
            "least_answered": gate.policy.least_answered,
        },
        "method": method(gate),
        "sides": [
            {
                "role": side.role,
                "name": side.name,
                "files": [str(run.file) for run in side.runs],
                "model": side.runs[0].model,
                "model_args": side.runs[0].model_args,
            }
            for side in gate.sides
        ],
        "rules": [_rule(outcome) for outcome in gate.outcomes],
        "problems": [str(problem) for problem in gate.problems],
        **_grounds(gate),
        "notes": list(gate.notes),
    }
    return json_text(data) + "\n"


def _grounds(gate: Gate) -> dict[str, list[str]]:
    """On what the verdict rests; "open" is what neither a record nor the caller answers for."""
    return {"proved": list(gate.proved), "declared": list(gate.declared), "open": list(gate.open)}


def _rule(outcome: Outcome) -> dict:
    numbers = ("score", "other", "value", "low", "high", "people", "questions", "p_broken", "p_adjusted", "p_held")
    finite = {key: getattr(outcome, key) for key in (*numbers, "needed")}
    return {
        "rule": outcome.rule.name,
        "demand": outcome.demand,
        "metric": outcome.rule.metric,
        "guard": outcome.rule.guard,
        "bound": {"kind": outcome.rule.bound.kind, "amount": outcome.rule.bound.amount},
        "compared_with": outcome.side or None,
        "verdict": outcome.verdict,
        "reason": outcome.reason,
        "why": reason(outcome),
        **{key: None if value == float("inf") else value for key, value in finite.items()},
    }


def _explanations(gate: Gate) -> list[str]:
    """Why rules are undecided, each reason once, then problems and notes."""
    undecided: dict[str, list[str]] = {}
    for outcome in gate.outcomes:
        if outcome.verdict is Verdict.UNDECIDED and outcome.reason != "incomplete":
            undecided.setdefault(outcome.why, []).append(outcome.rule.name)
    lines = [f"undecided: {', '.join(names)}: {why}" for why, names in undecided.items()]
    lines += [f"incomplete: {line}" for line in grouped(gate.problems)]
    lines += [f"note: {note}" for note in gate.notes]
    return lines + [f"{kind}: {line}" for kind, found in _grounds(gate).items() for line in found]


def _line(outcome: Outcome) -> list[str]:
    share = outcome.rule.bound.kind is Kind.SHARE
    form = (lambda x: f"{100 * x:.1f} %") if share else (lambda x: f"{x:.3f}" if abs(x) < 1000 else f"{x:.0f}")
    if outcome.rule.bound.kind is Kind.DIFFERENCE:
        form = lambda x: f"{x:+.3f}"
    interval = "" if outcome.low is None else f"{form(outcome.low)} to {form(outcome.high)}"
    return [
        str(outcome.verdict),
        outcome.rule.name,
        outcome.demand,
        "" if outcome.score is None else f"{outcome.score:.3f}".removesuffix(".000" if outcome.score > 1 else " "),
        "" if outcome.other is None else f"{outcome.other:.3f}",
        interval,
        "" if outcome.people is None else str(outcome.people),
        "" if outcome.p_adjusted is None else _p(outcome.p_adjusted),
    ]


def _p(value: float) -> str:
    return "<.001" if value < 0.001 else f"{value:.3f}".lstrip("0") if value < 1 else "1"
