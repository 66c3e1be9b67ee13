"""Run as a program of its own: renders a chat template for a short question, within limits that end it otherwise.

A template is a program from outside. Its sandbox keeps it from files, but not from running for ever or filling the
memory, and nothing within a process can stop that: `9 ** 9 ** 9` is one operation. Reads {"template", "names",
"seconds"} from standard input. Exits with TOO_MUCH for what is too much (or dies of the limit), with 0 for all else:
whether a template takes our turns is found out where they are rendered.
"""

import json
import re
import sys

BYTES, CHARACTERS = 2**30, 1_000_000
TOO_MUCH = 3
GENERATION = re.compile(r"\{%-?\s*(end)?generation\s*-?%\}")  # a tag of Transformers, which writes nothing
SHORT = ({"type": "image"}, {"type": "text", "text": "Who is this?"})
TURNS = (
    [{"role": "user", "content": [*SHORT]}],
    [
        {"role": "system", "content": [{"type": "text", "text": "Be brief."}]},
        {"role": "user", "content": [*SHORT]},
        {"role": "assistant", "content": [{"type": "text", "text": "Ada."}]},
    ],
)


def main() -> int:
    from jinja2 import ext
    from jinja2.sandbox import ImmutableSandboxedEnvironment

    given = json.load(sys.stdin)
    _limit(given["seconds"])
    environment = ImmutableSandboxedEnvironment(trim_blocks=True, lstrip_blocks=True, extensions=[ext.loopcontrols])
    environment.globals |= {"raise_exception": _refuse, "strftime_now": lambda form: ""}
    try:
        template = environment.from_string(GENERATION.sub("", given["template"]))
    except (MemoryError, OverflowError):
        return TOO_MUCH
    except Exception:  # no template: said where it is rendered
        return 0
    written = 0
    for turns in TURNS:
        try:
            for piece in template.generate(messages=turns, add_generation_prompt=True, **given["names"]):
                written += len(piece)
                if written > CHARACTERS:
                    return TOO_MUCH
        except (MemoryError, OverflowError):
            return TOO_MUCH
        except Exception:  # a turn that it refuses
            continue
    return 0


def _refuse(message: str) -> None:
    raise ValueError(message)


def _limit(seconds: int) -> None:
    try:
        import resource
    except ImportError:  # not on Windows; the caller's clock remains
        return
    resource.setrlimit(resource.RLIMIT_CPU, (seconds, seconds + 1))
    resource.setrlimit(resource.RLIMIT_AS, (BYTES, BYTES))


if __name__ == "__main__":
    sys.exit(main())
