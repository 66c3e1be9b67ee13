"""Batches made ahead are the same batches, their errors are raised, and no thread stays behind."""

import threading

import pytest
from torch.utils.data import DataLoader, Dataset

from mllmu_tasks.errors import UserError
from mllmu_unlearn.training.prefetch import AheadLoader, ahead


def test_the_same_items_in_order():
    assert list(ahead(iter(range(20)))) == list(range(20))
    plain, early = (list(loader(range(10), batch_size=3)) for loader in (DataLoader, AheadLoader))
    assert [b.tolist() for b in plain] == [b.tolist() for b in early]


def test_at_most_so_many_too_early():
    made, second = [], threading.Event()

    def items():
        for n in range(10):
            made.append(n)
            if n == 3:
                second.set()
            yield n

    batches = ahead(items(), depth=2)
    assert next(batches) == 0
    assert second.wait(5)  # one given, two waiting, one in hand
    assert made == [0, 1, 2, 3]
    batches.close()


def test_an_error_comes_where_its_item_would():
    def items():
        yield 1
        raise ValueError("row 2 is broken")

    batches = ahead(items())
    assert next(batches) == 1
    with pytest.raises(ValueError, match="row 2"):
        next(batches)


def test_no_thread_stays_behind():
    before = threading.active_count()
    batches = ahead(iter(range(100)))
    next(batches)
    assert threading.active_count() == before + 1
    batches.close()
    assert threading.active_count() == before


class Broken(Dataset):
    def __len__(self):
        return 3

    def __getitem__(self, index):
        if index:
            raise UserError(f"person {index}: the image cannot be read; fetch it again.")
        return index


@pytest.mark.parametrize("workers", [0, 1])
def test_a_sentence_stays_one_whoever_makes_the_batch(workers):
    batches = iter(AheadLoader(Broken(), num_workers=workers, batch_size=1))
    next(batches)
    with pytest.raises(UserError, match=r"^person 1: the image cannot be read; fetch it again\.$"):
        next(batches)
