"""The options of a logged question."""

from mllmu_tasks.results.runs import Sample
from mllmu_tasks.strict_json import loads


def read_options(sample: Sample) -> dict[str, str | None] | None:
    """letter -> text, {} if the question had none; None if they were not logged, as by earlier versions."""
    logged = sample.logged.get("options")
    if not isinstance(logged, str):
        return None
    try:
        found = loads(logged) if logged else {}
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}
