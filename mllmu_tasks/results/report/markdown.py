"""Content -> Markdown with the figures as files beside it, for places that show no HTML."""

from collections.abc import Sequence

from mllmu_tasks.results.report.content import Content
from mllmu_tasks.results.report.examples import Example
from mllmu_tasks.results.report.html import verdict
from mllmu_tasks.results.report.tables import NOTHING, PART, PART_WORDS, Table, interval, number
from mllmu_tasks.text_safety import code_block, markdown

FIGURES = "figures"


def document(content: Content) -> str:
    """report.md; every text from outside is escaped, pictures of people stay in the HTML."""
    lines = [f"# {markdown(content.title)}", "", markdown(content.summary), ""]
    lines += [f"- **Not a result.** {markdown(line)}" for line in content.failed]
    lines += [f"- **Not comparable.** {markdown(line)}" for line in content.incomparable]
    lines += [f"- **Warning.** {markdown(line)}" for line in content.warnings]
    lines += ["", markdown(content.reading)]
    for drawing in content.drawings:
        lines += ["", f"## {markdown(drawing.title)}", "", f"![{markdown(drawing.title)}]({FIGURES}/{drawing.key}.png)"]
        lines += ["", markdown(drawing.caption)]
    lines += ["", "## Tables", "", "Mean score and 95 % interval. cls and cloze are accuracies, gen is ROUGE-L."]
    if content.has_parts:
        lines += ["", f"{markdown(PART)} {PART_WORDS}"]
    for table in content.tables:
        lines += ["", f"### {markdown(table.title)}", "", *_table(table)]
    if content.examples:
        lines += ["", "## Examples", "", markdown(content.examples_note)]
    for example in content.examples:
        lines += ["", *_example(example)]
    lines += ["", "## Provenance", "", *_provenance(content), "", markdown(content.made_by)]
    return "\n".join(lines) + "\n"


def _table(table: Table) -> list[str]:
    groups = [group for group, span in table.groups for _ in range(span)]
    heads = ["", *(f"{group} {head}" for group, head in zip(groups, table.heads, strict=True))]
    lines = []
    for line in table.lines:
        cells = []
        for score in line.cells:
            if score is None:
                cells.append(NOTHING)
            elif not score.is_result:
                cells.append("not a result")
            else:
                mean = f"**{number(score.mean)}**" if score.best else number(score.mean)
                cells.append(f"{mean} ({interval(score)})" + f" {markdown(PART)}" * score.is_part)
        lines.append([markdown(line.name), *cells])
    return _rows([markdown(head) for head in heads], lines)


def _example(example: Example) -> list[str]:
    lines = [f"### {markdown(example.split)}: {markdown(example.person)}"]
    for asked in example.asked:
        lines += ["", f"{markdown(asked.question)} ({asked.task}, {asked.modality})", ""]
        answers = [[markdown(a.row), markdown(a.text), verdict(a, asked)] for a in asked.answers]
        lines += _rows(["", "answer", ""], [["right answer", f"**{markdown(asked.gold)}**", ""], *answers])
    return lines


def _provenance(content: Content) -> list[str]:
    heads = ["", *content.origins[0].facts, "answered"]
    lines = [
        [
            markdown(origin.row),
            *map(markdown, origin.facts.values()),
            ", ".join(f"{split} {100 * rate:.1f} %" for split, rate in origin.answered.items()),
        ]
        for origin in content.origins
    ]
    found = _rows(heads, lines)
    if content.trainings:
        runs = [list(map(markdown, run.values())) for run in content.trainings]
        found += ["", "### Training runs", "", *_rows(list(content.trainings[0]), runs)]
    found += ["", "### Commands"]
    for origin in content.origins:
        found += ["", markdown(f"{origin.row}: {', '.join(origin.files)}"), "", *code_block("\n".join(origin.commands))]
    return found


def _rows(heads: Sequence[str], lines: Sequence[Sequence[str]]) -> list[str]:
    rule = ["---"] * len(heads)
    return [f"| {' | '.join(line)} |" for line in [heads, rule, *lines]]
