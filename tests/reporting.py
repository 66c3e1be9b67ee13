"""Calls `mllmu report`, and texts that want to be markup."""

from typer.testing import CliRunner

from mllmu_tasks.benchmarks.mllmu.spec import Split
from mllmu_tasks.errors import UserError
from mllmu_unlearn.cli.main import app

SCRIPT = "<script>document.title='owned';document.body.innerHTML=''</script>"
IMAGE = "<img src=http://tracker.test/x.png onerror=document.title='owned'>"
NAME = "<b onclick=alert(1)>$x^2$|**b**[l](http:t)"
PERSON = "<i onload=alert(2)>$1$"
GOOD = {Split.FORGET: 0.2, Split.TEST: 0.2, Split.RETAIN: 0.95, Split.REAL: 0.95}
KNOWN = dict.fromkeys(Split, 0.95)


def run_report(*arguments) -> tuple[int, str]:
    """Exit code, and what was printed or the sentence of the error."""
    found = CliRunner().invoke(app, ["report", *map(str, arguments)])
    if isinstance(found.exception, UserError):
        return 2, f"{found.output}{found.exception}"
    assert found.exception is None or isinstance(found.exception, SystemExit), found.exception
    return found.exit_code, found.output
