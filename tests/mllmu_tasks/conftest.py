import pytest
import tiny_models
from adapters import make_adapter
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


@pytest.fixture(scope="session")
def folders(tmp_path_factory):
    """Family -> a saved tiny model, made on first use."""
    made = {}

    def folder(family: str = "llava"):
        if family not in made:
            made[family] = tiny_models.save(family, tmp_path_factory.mktemp(family) / "tiny")
        return made[family]

    return folder


@pytest.fixture(scope="session")
def adapters(folders, tmp_path_factory):
    """Family -> a LoRA adapter of its tiny model, made on first use."""
    made = {}

    def folder(family: str = "llava"):
        if family not in made:
            made[family] = make_adapter(folders(family), tmp_path_factory.mktemp(f"{family}-lora") / "lora", "lora")
        return made[family]

    return folder


@pytest.fixture(autouse=True)
def own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("MLLMU_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"
