import pytest
import tiny_models
from adapters import make_adapter


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
