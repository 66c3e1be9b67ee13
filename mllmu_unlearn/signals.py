"""SIGTERM and SIGHUP end a command as Ctrl-C does; its exit code then names the signal (143, 129)."""

import signal
import sys
from types import FrameType
from typing import NoReturn

ENDING = (signal.SIGTERM, signal.SIGHUP)
"""What schedulers and closed terminals send."""
_received: list[int] = []


class Ended(KeyboardInterrupt):
    """Raised in the main thread by such a signal. Whatever cleans up after Ctrl-C, asyncio included, does so now."""


def install() -> None:
    """For the whole process; a signal that is ignored (by `nohup`, say) stays ignored."""
    for number in ENDING:
        if signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, _end)


def exit_code(code: int) -> int:
    """The code of a process that would end with this one: 128 and the signal, if one ended it."""
    return 128 + _received[0] if _received else code


def _end(number: int, frame: FrameType | None) -> NoReturn:
    for other in ENDING:
        signal.signal(other, signal.SIG_IGN)  # cleaning up is not interrupted a second time
    _received.append(number)
    print(f"mllmu: ended by {signal.Signals(number).name}", file=sys.stderr, flush=True)
    raise Ended
