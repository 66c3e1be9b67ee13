import pytest
import tiny_models


@pytest.fixture(scope="session")
def folders(tmp_path_factory):
    """Family -> a saved tiny model, made on first use."""
    made = {}

    def folder(family: str = "llava"):
        if family not in made:
            made[family] = tiny_models.save(family, tmp_path_factory.mktemp(family) / "tiny")
        return made[family]

    return folder


@pytest.fixture(autouse=True)
def own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("MLLMU_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"
