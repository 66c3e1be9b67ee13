import pytest

from mllmu_unlearn.cli.main import main


@pytest.fixture
def mllmu(monkeypatch, capsys):
    """mllmu(*arguments) -> (exit code, stdout, stderr), in this process."""

    def run(*arguments: object) -> tuple[int, str, str]:
        monkeypatch.setattr("sys.argv", ["mllmu", *map(str, arguments)])
        with pytest.raises(SystemExit) as end:
            main()
        return end.value.code or 0, *capsys.readouterr()

    return run
