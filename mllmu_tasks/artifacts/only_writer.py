"""One writer an output folder: a lock beside it, which the system releases when its process ends, however it ends.

The file `.NAME.lock` says who writes. flock works on local disks and on NFS; where a file system has no locks, the
file itself is the lock, and a dead process of this machine does not hold it.
"""

import errno
import fcntl
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from mllmu_tasks.errors import UserError

NO_LOCKS = (errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP)
_HELD: set[Path] = set()


@contextmanager
def only_writer(folder: Path) -> Iterator[None]:
    """Inside, no other process writes the folder or its checkpoints; may be nested within a process.

    Raises UserError if another process does, or if nothing can be written beside the folder. Leaves nothing behind.
    """
    place = folder.parent.resolve() / f".{folder.name}.lock"
    if place in _HELD:
        yield
        return
    made = [parent for parent in place.parents if not parent.exists()]
    try:
        place.parent.mkdir(parents=True, exist_ok=True)
        lock = _taken(place, folder)
    except OSError as error:
        raise UserError(f"'{folder}' cannot be written ({error.strerror}); choose another folder.") from error
    _HELD.add(place)
    try:
        yield
    finally:
        _HELD.discard(place)
        place.unlink(missing_ok=True)  # before it is released: whoever waits sees that it is gone and makes a new one
        os.close(lock)
        for parent in made:
            if not any(parent.iterdir()):
                parent.rmdir()


def _taken(place: Path, folder: Path) -> int:
    """The open lock file, whose lock is ours."""
    while True:
        lock = os.open(place, os.O_RDWR | os.O_CREAT, 0o666)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            holder = os.pread(lock, 300, 0)
            os.close(lock)
            raise _busy(holder, folder, "") from None
        except OSError as error:
            holder = os.pread(lock, 300, 0)
            os.close(lock)
            if error.errno not in NO_LOCKS:
                raise
            lock = _taken_without_locks(place, folder, holder)
        if _is(lock, place):
            os.truncate(lock, 0)
            os.pwrite(lock, f"{os.getpid()} {socket.gethostname()}".encode(), 0)
            return lock
        os.close(lock)  # its last holder removed it in between


def _taken_without_locks(place: Path, folder: Path, holder: bytes) -> int:
    """The lock file, made anew by this process."""
    pid, _, host = holder.decode(errors="replace").partition(" ")
    if pid and not (host == socket.gethostname() and pid.isdecimal() and not _runs(int(pid))):
        raise _busy(holder, folder, f" (if it is over, remove '{place}')")
    place.unlink(missing_ok=True)
    try:
        return os.open(place, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o666)
    except FileExistsError:
        raise _busy(b"", folder, "") from None


def _busy(holder: bytes, folder: Path, remedy: str) -> UserError:
    pid, _, host = holder.decode(errors="replace").partition(" ")
    who = f"process {pid} on {host}" if pid else "another process"
    return UserError(f"'{folder}' is being written by {who}; wait until it ends{remedy}, or choose another folder.")


def _is(lock: int, place: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(lock), os.stat(place))
    except FileNotFoundError:
        return False


def _runs(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:  # somebody else's
        return True
    return True
