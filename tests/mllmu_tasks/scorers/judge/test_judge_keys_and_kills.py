"""`mllmu judge`: the key stays where it is, and what was paid for survives."""

import os
import signal
import subprocess
import sys
import time

import pytest
from judge_server import GIVEN, IMAGE, KEY, completion, error, judged


@pytest.mark.parametrize("status", [401, 403])
def test_a_bad_key_is_one_sentence(judge, server, answers, status):
    folder = answers("npo", GIVEN)
    server.script = [(status, {}, error(f"Incorrect API key provided: {KEY}"))] * 99
    code, output = judge(folder)
    assert code == 2
    assert output == (
        f"{server.url} does not accept the key that was sent (HTTP {status}); put a valid key into the environment "
        "variable that --key_env names."
    )
    assert len(server.requests) <= 8
    assert not list(folder.rglob("*_judged.json"))


def test_the_key_is_in_no_output_and_no_file(judge, server, answers, tmp_path, monkeypatch):
    """Neither from us nor from a server that repeats it in a reply, in its name, or in an error."""
    folder = answers("npo", GIVEN)
    shouting = completion(f"Factuality Score: 4\nKey {KEY}") | {"model": f"model {KEY}"}
    useless = completion(f"My key is {KEY}")
    server.script = [(200, {}, shouting), (200, {}, useless), (200, {}, useless), (400, {}, error(f"no {KEY}"))]
    server.script += [
        (500, {}, error(f"{KEY}")),
        (429, {"Retry-After": "0"}, error(KEY)),
        (302, {"Location": KEY}, b""),
    ]
    outputs = [judge(folder, "--concurrency", 1)[1], judge(folder)[1], judge(folder, "--dry_run")[1]]
    assert all(headers["Authorization"] == f"Bearer {KEY}" for _, headers, _ in server.requests)
    outputs.append(judge(folder, "--key_env", KEY, "--model", "new", url="https://api.openai.com/v1")[1])
    monkeypatch.setenv("OPENAI_API_KEY", f"{KEY} {KEY}")
    outputs.append(judge(folder)[1])
    assert outputs[-2].startswith("https://api.openai.com/v1 needs a key")
    assert outputs[-1].startswith("the key holds characters")
    assert not [output for output in outputs if KEY in output]
    files = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert [path for path in files if path.parent.parent == tmp_path / "cache" / "judge"]
    assert [path for path in files if path.name.endswith("_judged.json")]
    assert not [path for path in files if KEY in path.read_text() or KEY in path.name]


def test_a_local_server_needs_no_key(judge, server, answers):
    folder = answers("npo", {IMAGE: {"001": ["grade 3"]}})
    code, output = judge(folder, "--key_env", "")
    assert (code, "without a key" in output) == (0, True)
    assert "Authorization" not in server.requests[0][1]


@pytest.mark.parametrize("sign", [signal.SIGKILL, signal.SIGINT, signal.SIGTERM])
def test_a_killed_run_goes_on_where_it_stopped(judge, server, answers, sign):
    folder = answers("npo", {IMAGE: {f"{n:03}": ["grade 5", "grade 6"] for n in range(1, 21)}})
    server.pause = 0.1
    code = "from mllmu_unlearn.cli.main import main; main()"
    command = [sys.executable, "-c", code, "judge", folder, "--base_url", server.url, "--concurrency", "2"]
    process = subprocess.Popen(command, env=os.environ, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    try:
        until = time.monotonic() + 60
        while len(server.requests) < 9 and time.monotonic() < until:
            time.sleep(0.02)
        process.send_signal(sign)
        _, errors = process.communicate(timeout=10)
    finally:
        process.kill()
    kept = len([*folder.parent.joinpath("cache", "judge").rglob("*.json")])
    assert 7 <= kept < 40
    assert not list(folder.rglob("*_judged.json"))
    if sign != signal.SIGKILL:
        assert process.returncode == 128 + sign
        assert errors.strip().endswith(
            f"mllmu: stopped. {kept} answers were judged and are kept; the same command goes on from there."
        )
        assert "Traceback" not in errors
    server.pause = 0
    server.requests.clear()
    assert judge(folder)[0] == 0
    assert len(server.requests) == 40 - kept
    assert judged(folder)["complete"]
