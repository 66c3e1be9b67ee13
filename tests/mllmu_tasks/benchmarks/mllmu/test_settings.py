"""What the environment says, and where there is none."""

import pytest

from mllmu_tasks.benchmarks.mllmu.settings import Settings, cache_folder, require_home
from mllmu_tasks.errors import UserError


@pytest.mark.parametrize("name", ["MLLMU_SEED", "MLLMU_SHOTS", "MLLMU_SHOT_QUESTIONS"])
@pytest.mark.parametrize("value", ["9" * 5000, "1," + "9" * 5000, "-1", "1e3", "\x1b[31m"])
def test_numbers_that_cannot_be(name, value):
    with pytest.raises(UserError, match=f"^{name}=") as caught:
        Settings.from_environment({name: value})
    assert len(str(caught.value)) < 400


def test_a_user_without_a_home_is_asked_for_a_cache(monkeypatch, tmp_path):
    monkeypatch.setenv("MLLMU_CACHE", str(tmp_path))
    assert cache_folder() == tmp_path
    monkeypatch.delenv("MLLMU_CACHE")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert cache_folder() == tmp_path / ".cache" / "mllmu"
    monkeypatch.delenv("HOME")
    monkeypatch.setattr("os.getuid", lambda: 54321)
    with pytest.raises(UserError, match="has no home folder; set HOME, or MLLMU_CACHE"):
        cache_folder()
    monkeypatch.delenv("HF_HOME", raising=False)
    with pytest.raises(UserError, match="has no home folder, where data are cached; set HOME"):
        require_home()
    monkeypatch.setenv("HF_HOME", str(tmp_path))
    require_home()
