"""Commands that run others: the others end with them, whatever ends them.

`python -m mllmu_unlearn.experiments.processes COMMAND ...` runs one so, in a process that holds nothing else.
"""

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from typing import Any

from mllmu_unlearn import signals

GRACE_SECONDS = 40
"""Above the 30 seconds that torch's launcher gives its own processes, which it started in sessions of theirs."""


def start(command: Sequence[str], **options: Any) -> subprocess.Popen:
    """Start it in a session and group of its own: a Ctrl-C at the terminal reaches us first, and we end it in order.

    On Linux the kernel ends it, too, if this process is killed outright. options: of `subprocess.Popen`.
    """
    setpriv = shutil.which("setpriv") if sys.platform == "linux" else None
    tied = [setpriv, "--pdeathsig", "TERM", "--"] if setpriv else []
    return subprocess.Popen([*tied, *command], start_new_session=True, **options)


def end(processes: Sequence[subprocess.Popen]) -> None:
    """End them and all they started: asked first, killed after `GRACE_SECONDS`, or at a second Ctrl-C.

    SIGTERM and not SIGINT, which processes ignore that a script started in the background.
    """
    for process in processes:
        _signal(process, signal.SIGTERM)
    deadline = time.monotonic() + GRACE_SECONDS
    try:
        for process in processes:
            process.wait(max(0.1, deadline - time.monotonic()))
    except subprocess.TimeoutExpired:
        pass  # the lines below are for this
    finally:
        for process in processes:
            _signal(process, signal.SIGKILL)  # its group outlives a process that did not wait for its children
            process.wait()


def _signal(process: subprocess.Popen, number: int) -> None:
    try:
        os.killpg(process.pid, number)
    except ProcessLookupError:
        return  # all of them have ended


def run(command: Sequence[str]) -> int:
    """Run a command to its end; returns the exit code that ours then is: 0, 128 and a signal's number, else 2."""
    process = start(command)
    try:
        code = process.wait()
    finally:
        end([process])
    if code < 0:
        return 128 - code
    return code if code in (0, 128 + signal.SIGINT, 128 + signal.SIGTERM) else 2


def main() -> None:
    signals.install()
    try:
        code = run(sys.argv[1:])
    except KeyboardInterrupt:
        code = 128 + signal.SIGINT
    raise SystemExit(signals.exit_code(code))


if __name__ == "__main__":
    main()
