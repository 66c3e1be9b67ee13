"""Content -> one HTML file that asks for nothing else. Jinja2 escapes everything that is not a figure."""

from importlib.resources import files

from jinja2 import Environment, StrictUndefined
from markupsafe import Markup

from mllmu_tasks.results.report.content import Content
from mllmu_tasks.results.report.examples import Answer, Asked
from mllmu_tasks.results.report.tables import NOTHING, PART, PART_WORDS, interval, number
from mllmu_tasks.text_safety import printable


def page(content: Content) -> str:
    """index.html. Control characters are dropped; scripts are forbidden by the page itself, too."""
    room = files("mllmu_tasks.results.report")
    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    environment.filters |= {"number": number, "interval": interval, "verdict": verdict, "svg": Markup}
    template = environment.from_string((room / "page.html.jinja").read_text(encoding="utf-8"))
    style = Markup((room / "page.css").read_text(encoding="utf-8"))
    return printable(template.render(c=content, style=style, nothing=NOTHING, part=PART, part_words=PART_WORDS))


def verdict(answer: Answer, asked: Asked) -> str:
    """Right or wrong as a sign, so that colour alone carries nothing; a number where scores lie between."""
    if asked.by_degrees:
        return number(answer.right)
    return "✓" if answer.right == 1 else "✗"
