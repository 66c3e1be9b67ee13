import subprocess
import sys

import pytest
from packaging.requirements import Requirement

from mllmu_tasks import versions
from mllmu_tasks.versions import Moved, describe_moved, moved_packages, versions_tested


@pytest.fixture
def install(tmp_path, monkeypatch):
    """Put the metadata of a package in front of those that are installed."""

    def put(name, version):
        folder = tmp_path / f"{name.replace('-', '_')}-{version}.dist-info"
        folder.mkdir()
        (folder / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n")
        monkeypatch.syspath_prepend(str(tmp_path))

    return put


def test_the_tested_set_holds_what_we_name_and_no_build_of_torch():
    tested = {name.lower().replace("_", "-") for name in versions_tested()}
    named = {Requirement(text).name for text in versions.requires("mllmu") if "extra" not in text}
    assert named - tested == {"torch", "torchvision"}
    assert not [name for name in tested if name.startswith(("nvidia-", "cuda-", "triton"))]


def test_the_tested_set_lies_within_the_stated_bounds():
    bounds = versions._bounds()
    outside = [
        f"{name} {version}"
        for name, version in versions_tested().items()
        if (bound := bounds.get(versions.canonicalize_name(name))) and version not in bound.specifier
    ]
    assert outside == []


def test_a_package_that_breaks_a_bound_is_named_first(install):
    install("click", "0.1")
    install("filelock", "4.3.1")
    first = moved_packages()[0]
    assert (first.name, first.installed, first.fits) == ("filelock", "4.3.1", False)
    assert "filelock 4.3.1 (needs <4.3,>=3.16, tested 4.2" in describe_moved(moved_packages())
    assert "click 0.1 (tested" in describe_moved(moved_packages())


def test_what_was_not_installed_is_no_difference(monkeypatch):
    monkeypatch.setattr(versions, "versions_tested", lambda: {"no-such-package-here": "1.0"})
    assert moved_packages() == []


def test_a_long_list_is_counted():
    line = describe_moved([Moved(f"package{n}", "2", "1") for n in range(9)])
    assert line.startswith("9 packages differ")
    assert line.endswith("and 3 more")
    assert describe_moved([]) == ""


def test_checking_the_environment_imports_no_torch():
    code = "import sys; from mllmu_tasks import versions; versions.moved_packages(); sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_a_failed_stage_is_followed_by_what_moved(install, capsys):
    install("filelock", "4.3.1")
    versions.say_moved()
    assert capsys.readouterr().err.startswith("mllmu: note: 1 package differs from the versions that were tested")
