"""Batches are prepared while the model works on the ones before."""

import queue
import threading
from collections.abc import Iterable, Iterator
from typing import Any

from torch.utils.data import DataLoader

from mllmu_tasks.errors import UserError

DEPTH = 2
"""Batches that wait ready; each holds pixels."""
_END = object()


class AheadLoader(DataLoader):
    """A loader whose batches a thread of this process makes ahead; with workers of its own they do it already."""

    def __iter__(self) -> Iterator[Any]:
        batches = super().__iter__()
        return _in_one_sentence(batches) if self.num_workers else ahead(batches)


def _in_one_sentence(batches: Iterator[Any]) -> Iterator[Any]:
    """The same items; a UserError of a worker, which torch wraps into the worker's trace, as it was raised there."""
    try:
        yield from batches
    except UserError as error:
        raise UserError(str(error).strip().splitlines()[-1].partition("UserError: ")[2]) from error


def ahead(batches: Iterable[Any], depth: int = DEPTH) -> Iterator[Any]:
    """The same items in the same order, made by a thread, at most `depth` too early.

    An error of `batches` is raised where its item would have come. The thread ends with the iterator.
    """
    made: queue.Queue = queue.Queue(depth)
    stopped = threading.Event()

    def put(item: Any) -> bool:
        while not stopped.is_set():
            try:
                made.put(item, timeout=0.1)
            except queue.Full:
                continue
            return True
        return False

    def work() -> None:
        try:
            for batch in batches:
                if not put((batch, None)):
                    return
            put((_END, None))
        except BaseException as error:  # it belongs to whoever asks for the item
            put((_END, error))

    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    try:
        while True:
            batch, error = made.get()
            if error is not None:
                raise error
            if batch is _END:
                return
            yield batch
    finally:
        stopped.set()
        thread.join()
