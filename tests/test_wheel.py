"""What a built wheel holds: the data files that an editable install would find anyway."""

import subprocess
import sys
import zipfile
from pathlib import Path

from places import ROOT

from mllmu_tasks.benchmarks.mllmu.spec import leaves


def test_the_wheel_holds_task_yamls_mini_data_and_recipes(tmp_path):
    command = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(tmp_path)]
    made = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert made.returncode == 0, made.stderr
    (wheel,) = tmp_path.glob("*.whl")
    names = set(zipfile.ZipFile(wheel).namelist())
    yamls = {Path(name).stem for name in names if name.startswith("mllmu_tasks/task_yamls/")}
    assert {leaf.name for leaf in leaves()} | {"mllmu", "mllmu_10", "mllmu_15"} <= yamls
    for folder in ("mllmu_tasks/benchmarks/mini", "mllmu_unlearn/recipes", "mllmu_tasks/benchmarks/mllmu"):
        data = [p for p in (ROOT / folder).rglob("*") if p.suffix in (".yaml", ".parquet", ".safetensors", ".json")]
        assert data
        assert {str(path.relative_to(ROOT)) for path in data} <= names
    assert "mllmu_tasks/constraints.txt" in names
    assert any(name.endswith("entry_points.txt") for name in names)
    assert not any(name.startswith(("tests/", "task_yamls/")) for name in names)
