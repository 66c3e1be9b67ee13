"""Command line and YAML -> a config dataclass: YAML first, flags override, nothing unknown passes."""

import dataclasses
from collections.abc import Sequence
from typing import Any, NoReturn, TypeVar, get_type_hints

from transformers import HfArgumentParser, TrainingArguments
from transformers.hf_argparser import string_to_bool

from mllmu_tasks import strict_json, strict_yaml
from mllmu_tasks.errors import UserError, did_you_mean, escape_line, quoted, shown
from mllmu_unlearn import methods
from mllmu_unlearn.config.training_flags import REFUSED
from mllmu_unlearn.methods._checks import check_declaration
from mllmu_unlearn.recipes import find_recipe

T = TypeVar("T")
LONGEST_PARSED = 300
"""Characters of the parser's messages, which repeat what they were given."""
IDS = "forget_ids"
PEOPLE = (IDS, "forget_ratio")
"""Two ways to name the same thing: one on the command line takes the place of the other in a file."""
FIRST = ("method", "model_name_or_path", "people", "forget_ratio", "forget_ids", "output_dir")
"""What `--help` begins with: what every command line needs."""


class _Unset:
    def __repr__(self) -> str:
        return "unset"


_UNSET = _Unset()


class _Parser(HfArgumentParser):
    def error(self, message: str) -> NoReturn:
        raise UserError(f"{escape_line(message, LONGEST_PARSED).rstrip('.')}.")


def parse(cls: type[T], argv: Sequence[str]) -> T:
    """Build `cls` from the flags, with `--config file.yaml` read first wherever it stands.

    A hyphen in a flag may stand for an underscore; a boolean flag alone means true. Flags of the method named
    by `--method` are taken, too. Raises UserError for anything unknown or misplaced; `--help` prints, exits.
    """
    tokens = _spell(list(argv))
    file, tokens = _take(tokens, "--config")
    values = _read(file) if file else {}
    if any(f"--{name}" in tokens for name in PEOPLE):
        values = {key: value for key, value in values.items() if key not in PEOPLE}
    method = (_take(tokens, "--method")[0] or values.get("method")) if _has(cls, "method") else None
    types = [cls, *([methods.get(method)] if method else [])]
    if method:
        check_declaration(methods.get(method), {field.name for field in dataclasses.fields(cls)})
    parser = _Parser(types, allow_abbrev=False, prog="mllmu", add_help=False)
    if {"-h", "--help"} & set(tokens):
        print(_help(parser, types))
        raise SystemExit(0)
    names = {action.dest for action in parser._actions}
    for key in values:
        _known(key, names, method, f"{quoted(key)} in {file}")
    structured = {k: v for k, v in values.items() if isinstance(v, list | dict) and _takes(types, k, type(v))}
    scalars = [t for k, v in values.items() if k not in structured and v is not None for t in _flag(k, v, file)]
    parser.set_defaults(**dict.fromkeys(names, _UNSET))
    space, rest = parser.parse_known_args(_bare(parser, [*scalars, *tokens]))
    for token in rest:
        if not token.startswith("--"):
            raise UserError(f"{quoted(token)} is no flag; flags begin with --.")
        name = token.removeprefix("--").partition("=")[0]
        _known(name, names, method, escape_line(token))
    given = structured | {k: v for k, v in vars(space).items() if v is not _UNSET}
    if method:
        mine = {k: given.pop(k) for k in methods.get(method).hyper_parameters() if k in given}
        if mine:
            given["hyper_parameters"] = {**json_object(given.get("hyper_parameters")), **mine}
    return cls(**given)


def _help(parser: HfArgumentParser, types: Sequence[type]) -> str:
    """Ours before those of `TrainingArguments`, which nearly nobody looks for and which fill hundreds of lines."""
    theirs = {f.name for f in dataclasses.fields(TrainingArguments)}
    # What our classes declare again is ours: it has another default or meaning here.
    ours = {name for cls in types for base in cls.__mro__ for name in _declared(base)}
    groups = {True: [], False: []}
    shown = [action for action in parser._actions if action.dest not in REFUSED]
    places = {name: place for place, name in enumerate(FIRST)}
    for action in sorted(shown, key=lambda action: (places.get(action.dest, len(FIRST)), action.dest in theirs)):
        groups[action.dest in places or action.dest in ours or action.dest not in theirs].append(action)
    formatter = parser._get_formatter()
    for title, mine in (("flags", True), ("flags of transformers.TrainingArguments", False)):
        formatter.start_section(title)
        formatter.add_arguments(groups[mine])
        formatter.end_section()
    command = "finetune" if "method" not in {action.dest for action in parser._actions} else "unlearn"
    return f"usage: mllmu {command} [--config FILE.yaml] [--FLAG VALUE ...]\n\n{formatter.format_help()}"


def _declared(cls: type) -> set[str]:
    return set() if cls is TrainingArguments else set(vars(cls).get("__annotations__", {}))


def json_object(value: dict | str | None) -> dict[str, Any]:
    """A dict, the JSON text of one, or nothing. Raises UserError for anything else."""
    try:
        made = strict_json.loads(value) if isinstance(value, str) else value or {}
    except ValueError:
        made = None
    if not isinstance(made, dict):
        raise UserError("""hyper_parameters is no JSON object such as '{"beta": 0.1}'.""")
    return made


def _spell(tokens: list[str]) -> list[str]:
    """Flags with underscores, and `--flag=value` in two tokens."""
    spelt = []
    for token in tokens:
        if token.startswith("--"):
            name, equals, value = token.partition("=")
            spelt += ["--" + name[2:].replace("-", "_"), *([value] if equals else [])]
        else:
            spelt.append(token)
    return spelt


def _take(tokens: list[str], flag: str) -> tuple[str | None, list[str]]:
    """The last value of a flag and the tokens without it. Raises UserError if the value is missing."""
    value, left = None, []
    words = iter(tokens)
    for token in words:
        if token == flag:
            value = next(words, None)
            if value is None:
                raise UserError(f"{flag} needs a value.")
        else:
            left.append(token)
    return value, left


def _read(file: str) -> dict[str, Any]:
    values = strict_yaml.read(find_recipe(file), f"--config {file}") or {}
    if not isinstance(values, dict):
        raise UserError(f"{file} holds no `key: value` lines.")
    values = {str(key).replace("-", "_"): value for key, value in values.items()}
    ids = values.get(IDS)
    wrong = [i for i in (ids if isinstance(ids, list) else [ids]) if ids is not None and not isinstance(i, str)]
    if wrong:
        raise UserError(
            f"{IDS} in {file} holds the number {shown(wrong[0])} (YAML reads 032 as 26): quote the ids, "
            'for example ["009", "032"].'
        )
    return values


def _takes(types: Sequence[type], key: str, kind: type) -> bool:
    """Whether a flag is declared to hold a list or a mapping itself."""
    declared = {name: str(hint) for cls in types for name, hint in get_type_hints(cls).items()}
    return kind.__name__ in declared.get(key, "")


def _flag(key: str, value: Any, file: str | None) -> list[str]:
    """A YAML value as on the command line; a list has commas between there."""
    if isinstance(value, dict) or (isinstance(value, list) and any(isinstance(v, list | dict) for v in value)):
        raise UserError(f"{quoted(key)} in {file} holds a {type(value).__name__}; it takes one value.")
    if isinstance(value, list):
        value = ",".join(map(str, value))
    return [f"--{key}", str(value).lower() if isinstance(value, bool) else str(value)]


def _bare(parser: HfArgumentParser, tokens: list[str]) -> list[str]:
    """`true` behind a boolean flag (and --resume_from_checkpoint) that stands alone."""
    alone = {"--resume_from_checkpoint"} | {
        option for action in parser._actions if action.type is string_to_bool for option in action.option_strings
    }
    filled = []
    for place, token in enumerate(tokens):
        filled.append(token)
        last = place + 1 == len(tokens) or tokens[place + 1].startswith("--")
        if token in alone and last and not token.startswith("--no_"):
            filled.append("true")
    return filled


def _known(name: str, names: set[str], method: str | None, shown: str) -> None:
    if name in names:
        return
    others = [other for other in methods.names() if method and name in methods.get(other).hyper_parameters()]
    if others:
        raise UserError(
            f"{shown}: method '{method}' has no {name}; {', '.join(others)} {'have' if others[1:] else 'has'}."
        )
    raise UserError(f"unknown flag {shown}.{did_you_mean(name, names)}")


def _has(cls: type, name: str) -> bool:
    return name in {f.name for f in dataclasses.fields(cls)}
