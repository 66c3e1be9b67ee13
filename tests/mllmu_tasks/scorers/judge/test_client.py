"""The client against a server that is busy, broken, silent or not a judge at all."""

import asyncio
import time
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import pytest
from judge_server import KEY, completion, error

from mllmu_tasks.errors import UserError
from mllmu_tasks.scorers.judge.client import CallFailed, ChatClient, checked_url, retry_after

NO_COMPLETION = (
    *(b"", b"<html>", b"[]", b"7", b"\xff\xfe{", b"[" * 100_000),
    *(b'{"choices": []}', b'{"usage": {}}', b'{"error": "overloaded"}', b'{"choices": [{"message": null}]}'),
    b'{"choices": [{"message": {"content": [1]}}]}',
)
MESSAGES = [{"role": "user", "content": "7?"}, {"role": "user", "content": '{\n"a": 1\n}'}]


def ask(client):
    async def once():
        async with client:
            return await client.ask(MESSAGES)

    return asyncio.run(once())


def test_one_call_is_what_the_protocol_says(server, client):
    reply = ask(client())
    assert (reply.model, reply.prompt_tokens, reply.completion_tokens) == ("judge-2026", 300, 20)
    ((path, headers, body),) = server.requests
    assert path == "/v1/chat/completions"
    assert headers["Authorization"] == f"Bearer {KEY}"
    assert (body["model"], body["temperature"], body["max_tokens"]) == ("judge", 0, 700)
    assert body["messages"] == MESSAGES


def test_no_key_sends_no_header(server):
    ask(ChatClient(server.url + "/", "judge", " \n"))
    assert "Authorization" not in server.requests[0][1]
    assert server.requests[0][0] == "/v1/chat/completions"


def test_too_many_requests_waits_as_long_as_the_server_says(server, client):
    server.script = [(429, {"Retry-After": "0.4"}, error("slow down"))]
    ask(client())
    first, second = server.times
    assert 0.4 <= second - first < 20


def test_all_calls_rest_when_one_is_told_to(server, client):
    server.script = [(429, {"Retry-After": "0.5"}, error("slow down"))]

    async def two():
        async with client() as one:
            first = asyncio.create_task(one.ask(MESSAGES))
            await asyncio.sleep(0.2)
            await asyncio.gather(first, one.ask(MESSAGES))

    asyncio.run(two())
    told, *others = server.times
    assert len(others) == 2
    assert min(others) - told >= 0.5


def test_busy_does_not_use_up_the_retries_but_has_an_end(server, client, monkeypatch):
    server.script = [(429, {}, error("slow down"))] * 6
    assert ask(client(retries=1, longest_wait=0.02)).text
    assert len(server.requests) == 7
    monkeypatch.setattr("mllmu_tasks.scorers.judge.client.PATIENCE", 0.1)
    server.script = [(429, {}, error("slow down"))] * 1000
    with pytest.raises(CallFailed, match=r"HTTP 429 \(slow down\)"):
        ask(client(longest_wait=0.02))
    server.script = [(429, {"Retry-After": "86400"}, error("tomorrow"))]
    began = time.monotonic()
    with pytest.raises(CallFailed, match="tomorrow"):
        ask(client())
    assert time.monotonic() - began < 60


@pytest.mark.parametrize("status", [500, 502, 503, 529, 408])
def test_a_broken_server_is_asked_again_with_growing_waits(server, client, status):
    server.script = [(status, {}, b"<html>oops</html>")] * 3
    assert ask(client(first_wait=0.05)).text
    gaps = [b - a for a, b in zip(server.times, server.times[1:], strict=False)]
    assert len(gaps) == 3
    assert all(gap >= least for gap, least in zip(gaps, (0.025, 0.05, 0.1), strict=True))
    server.script = [(status, {}, b"")] * 99
    with pytest.raises(CallFailed, match=f"HTTP {status}, 3 times") as caught:
        ask(client(retries=2))
    assert caught.value.outage


@pytest.mark.parametrize("body", NO_COMPLETION)
def test_what_is_no_completion_is_asked_again(server, client, body):
    server.script = [(200, {}, body)]
    assert "Factuality" in ask(client()).text
    server.script = [(200, {}, body)] * 9
    with pytest.raises(CallFailed, match="no chat completion"):
        ask(client(retries=1))


def test_a_reply_without_words_is_a_reply(server, client):
    server.script = [(200, {}, completion(None) | {"usage": None, "model": None})]
    reply = ask(client())
    assert (reply.text, reply.model, reply.prompt_tokens) == ("", "", 0)


def test_a_silent_server_runs_into_the_time_limit(server, client):
    server.script = [2.0]
    assert ask(client(timeout=0.7)).text
    assert len(server.requests) == 2
    server.script = [0.6, 0.6]
    with pytest.raises(CallFailed, match=r"no answer within 0\.1 s, 2 times"):
        ask(client(timeout=0.1, retries=1))


def test_nobody_listens(server, client):
    away = client(retries=1)
    server.server_close()
    server.socket.close()
    with pytest.raises(CallFailed, match="2 times") as caught:
        ask(away)
    assert caught.value.outage


@pytest.mark.parametrize(
    ("status", "body", "says"),
    [
        (401, error(f"Incorrect API key provided: {KEY}"), "does not accept the key"),
        (403, error("not in your country"), "does not accept the key"),
        (404, error("The model `judge` does not exist"), "no model 'judge'"),
        (402, error("pay first"), "no credit"),
        (429, error("You exceeded your quota", "insufficient_quota"), "no credit"),
        (302, b"", "sends the call elsewhere"),
    ],
)
def test_what_no_call_can_mend_ends_at_once(server, client, status, body, says):
    server.script = [(status, {"Location": "http://127.0.0.1:9/"}, body)] * 9
    with pytest.raises(UserError, match=says) as caught:
        ask(client())
    assert KEY not in str(caught.value)
    assert len(server.requests) == 1


def test_a_refused_question_fails_alone(server, client):
    server.script = [(400, {}, error(f"content filter, {KEY}\x1b[31m\nnext line"))]
    with pytest.raises(CallFailed, match=r"HTTP 400 \(content filter, \[key\]\[31m next line\)") as caught:
        ask(client())
    assert not caught.value.outage
    server.script = [(400, {}, {"object": "error", "message": "too long", "code": 400})]
    with pytest.raises(CallFailed, match=r"\(too long\)"):
        ask(client())


def test_retry_after_is_a_number_or_a_date():
    assert retry_after("2.5") == 2.5
    assert 50 < retry_after(format_datetime(datetime.now(UTC) + timedelta(seconds=60), usegmt=True)) <= 60
    for value in (None, "", "soon", "-3", "nan", "inf", "Thu, 01 Jan 1970 00:00:00 GMT"):
        assert retry_after(value) == 0


def test_addresses_and_keys_that_cannot_be():
    assert checked_url(" https://api.example.org/v1/ ") == "https://api.example.org/v1"
    for bad in (
        "",
        "localhost:8000/v1",
        "ftp://a/b",
        "http://",
        "http://a:port/",
        "http://a:99999/",
        "http://a:0/",
        "http://a:" + "9" * 5000,
        "http://me:hush@a/",
        "http://a/?key=hush",
    ):
        with pytest.raises(UserError, match="--base_url") as caught:
            checked_url(bad)
        assert "hush" not in str(caught.value)
    for bad in ("hush hush", "hush\nX-Evil: 1", "hush\u00e9"):
        with pytest.raises(UserError, match="the key holds") as caught:
            ChatClient("http://a/v1", "judge", bad)
        assert "hush" not in str(caught.value)
