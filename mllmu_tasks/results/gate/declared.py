"""What the caller of a gate declares where nothing is recorded: the `declared:` block of a policy."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from mllmu_tasks.errors import UserError, did_you_mean
from mllmu_tasks.results.gate.identity import Identity
from mllmu_tasks.results.runs import Run

NAMES = ("weights", "base", "reference")
TEXTS = (*NAMES, "data", "system_prompt")
KEYS = (*TEXTS, "people", "gen_kwargs")


@dataclass(frozen=True)
class Declared:
    """Empty: nothing is declared.

    weights, base, reference: the judged model, the untouched base and the reference, by fingerprint or as they were
    named in --model_args. data: `whole_data` of the data that must have been asked about, as a verdict prints it.
    people: ids of those who were forgotten. gen_kwargs: generation settings that differ from the task files.
    system_prompt: the text before every question.
    """

    weights: str = ""
    base: str = ""
    reference: str = ""
    data: str = ""
    people: tuple[str, ...] = ()
    gen_kwargs: Mapping[str, Any] = field(default_factory=dict)
    system_prompt: str = ""


def parse_declared(given: object, source: str) -> Declared:
    """Raises UserError for anything that is not understood."""
    where = f"{source}, declared"
    if given is None:
        return Declared()
    if not isinstance(given, dict):
        raise UserError(f"{where}: expected keys and values, not '{str(given)[:80]}'.")
    for key in given:
        if key not in KEYS:
            raise UserError(f"{where}: '{str(key)[:80]}' is not known.{did_you_mean(str(key)[:80], KEYS)}")
    for key in TEXTS:
        if key in given and not (isinstance(given[key], str) and given[key].strip()):
            raise UserError(f"{where}: {key} must be a text; put it in quotes.")
    people = given.get("people", [])
    if not isinstance(people, list) or not all(isinstance(person, str) and person for person in people):
        raise UserError(f"{where}: people must be a list of ids in quotes, such as ['005', '009'].")
    if not isinstance(given.get("gen_kwargs", {}), dict):
        raise UserError(f"{where}: gen_kwargs must be keys and values, such as {{max_new_tokens: 200}}.")
    return Declared(**{**given, "people": tuple(people)})


def names_it(name: str, run: Run, who: Identity | None) -> bool:
    """Whether a declared name is that of the run: its weights' fingerprint, or how --model_args called them."""
    known = {run.argument("pretrained"), run.argument("peft"), run.argument("model"), run.argument("model_version")}
    if who:
        known |= {who.weights, who.adapter}
    return name in known - {""}
