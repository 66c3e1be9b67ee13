"""Which installed packages lie outside the set of versions that was tested together (constraints.txt)."""

import sys
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, requires, version

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

from mllmu_tasks.shipped import shipped

NAMED = 6
"""A line names so many packages and counts the rest."""


@dataclass(frozen=True)
class Moved:
    """An installed package whose version is not the tested one.

    allowed: what mllmu or lmms-eval demand of it ("" if nothing); fits: whether the installed version meets that.
    """

    name: str
    installed: str
    tested: str
    allowed: str = ""
    fits: bool = True

    def __str__(self) -> str:
        what = f"tested {self.tested}" if self.fits else f"needs {self.allowed}, tested {self.tested}"
        return f"{self.name} {self.installed} ({what})"


def versions_tested() -> dict[str, str]:
    """Package -> version, from the constraints file that this package ships."""
    lines = shipped("constraints.txt").read_text(encoding="utf-8").splitlines()
    return dict(line.split("==") for line in lines if line and not line.startswith("#"))


def moved_packages() -> list[Moved]:
    """Packages that are installed in another version than the tested one: first those that break a stated bound,
    then those that mllmu or lmms-eval name, then what these bring. A package that is not installed is no difference.
    """
    bounds = _bounds()
    found = []
    for name, tested in versions_tested().items():
        installed = _installed(name)
        if installed is None or Version(installed) == Version(tested):
            continue
        bound = bounds.get(canonicalize_name(name))
        fits = bound is None or bound.specifier.contains(installed, prereleases=True)
        found.append(Moved(name, installed, tested, str(bound.specifier) if bound else "", fits))
    return sorted(found, key=lambda moved: (moved.fits, canonicalize_name(moved.name) not in bounds))


def describe_moved(moved: list[Moved]) -> str:
    """One line for a person; "" if nothing differs."""
    if not moved:
        return ""
    named = ", ".join(map(str, moved[:NAMED]))
    rest = f" and {len(moved) - NAMED} more" if len(moved) > NAMED else ""
    count = "1 package differs" if len(moved) == 1 else f"{len(moved)} packages differ"
    return f"{count} from the versions that were tested together: {named}{rest}"


def say_moved() -> None:
    """Print one line on stderr where versions differ from the tested ones: after something failed, it may be why."""
    line = describe_moved(moved_packages())
    if line:
        print(f"mllmu: note: {line}; see `mllmu env --check`", file=sys.stderr, flush=True)


def _bounds() -> dict[str, Requirement]:
    """What lmms-eval and mllmu demand, by canonical name; mllmu's word counts where both speak."""
    bounds: dict[str, Requirement] = {}
    for package in ("lmms-eval", "mllmu"):
        for text in requires(package) or ():
            requirement = Requirement(text)
            if requirement.marker is None or requirement.marker.evaluate({"extra": ""}):
                bounds[canonicalize_name(requirement.name)] = requirement
    return bounds


def _installed(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None
