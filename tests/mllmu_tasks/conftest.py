import pytest
from data_sets import copy_mini

from mllmu_tasks.data.source import Source, open_source


@pytest.fixture
def data(tmp_path):
    """A folder with the mini benchmark, to be spoilt."""
    return copy_mini(tmp_path / "data")


@pytest.fixture
def fresh():
    """fresh(folder) -> a source that shares nothing with earlier ones of the same folder."""

    def make(folder) -> Source:
        open_source.cache_clear()
        return open_source(str(folder))

    return make
