"""What must hold between the people of one ratio: forget_N and retain_(100-N) part `Full_Set` in two."""

from collections.abc import Collection, Iterable

from mllmu_tasks.benchmarks.mllmu.spec import FULL_CONFIG, forget_config, retain_config
from mllmu_tasks.data.source import Source
from mllmu_tasks.errors import UserError

NAMED = 5


def check_split(source: Source, ratio: int) -> None:
    """Raise UserError if a person is in both parts, or in one of them without being in `Full_Set`.

    Reads the three configs. A person of both would count for both in the scores.
    """
    configs = forget_config(ratio), retain_config(ratio)
    require_apart(source.name, *((config, source.by_id(config)) for config in configs))
    for config in configs:
        check_known(source, config, [person.id for person in source.people(config)])


def require_apart(name: str, one: tuple[str, Iterable[str]], other: tuple[str, Iterable[str]]) -> None:
    """Raise UserError for people in both of two configs, (name, ids) each."""
    if both := {*one[1]} & {*other[1]}:
        raise UserError(
            f"'{name}' holds the same people in {one[0]} and in {other[0]} ({_some(both)}); they would be forgotten "
            "and retained at once, so take them out of one of the two."
        )


def check_known(source: Source, config: str, ids: Collection[str]) -> None:
    """Raise UserError if one of the ids that a config names is not in `Full_Set`."""
    if unknown := set(ids) - source.by_id(FULL_CONFIG).keys():
        raise UserError(
            f"{config} of data '{source.name}' names people who are not in {FULL_CONFIG}: {_some(unknown)}; an ID is a "
            "text such as '009', and a number loses its zeros."
        )


def undivided(source: Source, ratio: int) -> list[str]:
    """The people of `Full_Set` who are in neither part, in row order: nobody is asked about them."""
    parts = source.by_id(forget_config(ratio)).keys() | source.by_id(retain_config(ratio)).keys()
    return [person.id for person in source.people(FULL_CONFIG) if person.id not in parts]


def _some(ids: Collection[str]) -> str:
    return f"{', '.join(sorted(ids)[:NAMED])}{' and more' if len(ids) > NAMED else ''}"
