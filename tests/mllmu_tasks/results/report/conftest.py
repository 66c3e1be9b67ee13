"""One report of hostile results, made once a process."""

import pytest
from reporting import GOOD, IMAGE, KNOWN, NAME, PERSON, SCRIPT, run_report
from synthetic_results import everyone, write_evaluation

from mllmu_tasks.benchmarks.mllmu.spec import Split


@pytest.fixture(scope="session")
def hostile(tmp_path_factory):
    """The folder of a report whose names, people and answers want to be markup."""
    home = tmp_path_factory.mktemp("hostile")
    who = everyone(30, 6, 5)
    who[Split.FORGET] = who[Split.TEST] = [PERSON, *who[Split.FORGET][1:]]
    runs = [
        write_evaluation(home / "vanilla", "vanilla", who, KNOWN),
        write_evaluation(home / "retain_only", "retain_only", who, GOOD, answer=IMAGE),
        write_evaluation(home / "a", NAME, who, GOOD, answer=SCRIPT),
        write_evaluation(
            home / "b", "npo", who, KNOWN, answer=f"{SCRIPT}`|\x00\x1b[31m ![i](http://tracker.test/y.png)"
        ),
    ]
    code, output = run_report(*runs, "--out", home / "report")
    assert code == 0, output
    return home / "report"
