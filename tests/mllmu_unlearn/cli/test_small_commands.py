"""`mllmu --version`, `env` and `tasks`, and how a missing command ends."""

from pathlib import Path

import pytest

from mllmu_tasks import __version__
from mllmu_tasks.benchmarks.mllmu.spec import RATIOS, group_name, leaves


def test_version(mllmu):
    assert mllmu("--version") == (0, f"mllmu {__version__}\n", "")


def test_env_names_versions_settings_and_caches_with_their_size(mllmu, monkeypatch, tmp_path):
    monkeypatch.setenv("MLLMU_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("MLLMU_DATA", "mini")
    assert f"MLLMU_CACHE     {tmp_path / 'cache'} (not there yet)" in mllmu("env")[1]
    (tmp_path / "cache" / "answers").mkdir(parents=True)
    (tmp_path / "cache" / "answers" / "run.jsonl").write_bytes(bytes(3 << 20))
    code, out, _ = mllmu("env")
    assert code == 0
    for wanted in ("lmms-eval", "torch", "transformers", "MLLMU_DATA      mini", "MLLMU_SHOTS     1,2", "(3.0 MiB)"):
        assert wanted in out, wanted


def test_tasks_lists_groups_and_leaves_and_the_folder_to_include(mllmu):
    code, out, _ = mllmu("tasks", "--leaves")
    assert code == 0
    assert all(group_name(None, ratio) in out for ratio in RATIOS)
    assert {leaf.name for leaf in leaves()} <= set(out.split())
    folder = Path(mllmu("tasks", "--path")[1].strip())
    assert f"--include-path {folder}" in out
    assert {leaf.name for leaf in leaves()} <= {file.stem for file in folder.rglob("*.yaml")}


@pytest.mark.parametrize(
    "arguments",
    [
        ("unlaern",),
        ("export",),
        ("data", "mini", "--people", "x", "--out", "y"),
        ("data", "mini", "--seed", "9" * 5000, "--out", "y"),
        ("judge", "absent", "--base_url", "http://localhost:99999/v1"),
        ("judge", "absent", "--timeout", "nan"),
        ("judge", "absent", "--timeout", "inf"),
        ("judge", "absent", "--retries", "9" * 5000),
        ("sweep", "absent.yaml", "--workers", "9" * 5000),
        ("sweep", "absent.yaml", "--workers", "100000000"),
        ("unlearn", "--seed", "9" * 5000),
        ("demo", "--out", __file__),
        ("demo", "--out", str(Path(__file__).parent)),
        ("demo", "--out", "a,b"),
    ],
    ids=lambda arguments: " ".join(arguments)[:40],
)
def test_bad_usage_ends_with_exit_code_2(mllmu, arguments):
    code, _, err = mllmu(*arguments)
    assert code == 2
    assert "Traceback" not in err
