"""A running judge, and runs with generation answers to be judged."""

import json
import re
import threading

import pytest
from judge_server import KEY, JudgeServer
from typer.testing import CliRunner

from mllmu_tasks.errors import UserError
from mllmu_tasks.scorers.judge.client import ChatClient
from mllmu_unlearn.cli.main import app

DATE = "20260101_120000"


@pytest.fixture
def server():
    running = JudgeServer()
    thread = threading.Thread(target=running.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    yield running
    running.shutdown()
    running.server_close()
    thread.join()


@pytest.fixture(autouse=True)
def _surroundings(monkeypatch, tmp_path):
    """A cache of its own, the key in the environment, and no proxy between the test and the loopback."""
    monkeypatch.setenv("MLLMU_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    for name in ("http_proxy", "https_proxy", "all_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)


@pytest.fixture
def client(server):
    """client(**settings): a client of the server that does not wait long."""

    def make(**settings):
        return ChatClient(server.url, "judge", KEY, **{"first_wait": 0.01, "timeout": 5, **settings})

    return make


@pytest.fixture
def answers(tmp_path):
    """answers(name, {leaf: {person: [answer, ...]}}) -> output folder; the truth of each is `true <person> <index>`."""

    def write(name, given):
        folder = tmp_path / name / "model"
        folder.mkdir(parents=True)
        results = {leaf: {"alias": leaf} for leaf in given}
        config = {"model": "mllmu_hf", "model_args": f"pretrained={name}"}
        (folder / f"{DATE}_results.json").write_text(json.dumps({"results": results, "config": config}))
        for leaf, people in given.items():
            metric = "mllmu_cloze" if "cloze" in leaf else "mllmu_rougeL"
            rows = [
                {"score": 0.5, metric: 0.5, "person": person, "question_index": index}
                | {"prediction": answer, "gold": f"true {person} {index}", "question": f"What of {person}?"}
                | {"answered": float(bool(answer)), "parsed": 1.0}
                for person, said in people.items()
                for index, answer in enumerate(said)
            ]
            lines = "".join(json.dumps(row) + "\n" for row in rows)
            (folder / f"{DATE}_samples_{leaf}.jsonl").write_text(lines)
        return tmp_path / name

    return write


def by_the_answer(material):
    found = re.search(r"\d+", material["answer"])
    return f'{{"Factuality Score": {found[0] if found else 1}, "Justification": "as told"}}'


@pytest.fixture
def judge(server):
    """judge(folder, *flags) -> (exit code, what was printed)."""
    server.grade = by_the_answer

    def run(*arguments, url=server.url):
        found = CliRunner().invoke(app, ["judge", "--base_url", url, *map(str, arguments)])
        if isinstance(found.exception, UserError):
            return 2, str(found.exception)
        assert found.exception is None or isinstance(found.exception, SystemExit), found.exception
        return found.exit_code, found.output

    return run
