"""Answers that would fill the memory: on the wire, or only once they are unpacked."""

import asyncio
import gzip
import json
import tracemalloc
import zlib

import pytest
from judge_server import completion

from mllmu_tasks.scorers.judge.body import MOST_BYTES
from mllmu_tasks.scorers.judge.client import CallFailed

MESSAGES = [{"role": "user", "content": "7?"}, {"role": "user", "content": '{\n"a": 1\n}'}]
ZEROS = gzip.compress(bytes(300 * 2**20), 1)
WHOLE = json.dumps(completion("Factuality Score: 7")).encode()


def ask(client):
    async def once():
        async with client:
            return await client.ask(MESSAGES)

    return asyncio.run(once())


@pytest.mark.parametrize(
    ("headers", "body", "says"),
    [
        ({}, bytes(MOST_BYTES + 1), "more than 4,194,304 bytes, 2 times"),
        ({"Content-Encoding": "gzip"}, ZEROS, "more than 4,194,304 bytes when unpacked, 2 times"),
        ({"Content-Encoding": "gzip"}, b"no gzip", "is no gzip"),
        ({"Content-Encoding": "br"}, b"whatever", "the encoding 'br', which was not asked for"),
    ],
)
@pytest.mark.parametrize("status", [200, 500])
def test_an_answer_that_cannot_be_taken_fails_that_call(server, client, status, headers, body, says):
    server.script = [(status, headers, body)] * 2
    tracemalloc.start()
    with pytest.raises(CallFailed, match=says):
        ask(client(retries=1))
    most = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert most < 10 * MOST_BYTES


@pytest.mark.parametrize(("coding", "pack"), [("gzip", gzip.compress), ("deflate", zlib.compress)])
def test_a_packed_answer_is_read(server, client, coding, pack):
    server.script = [(200, {"Content-Encoding": coding}, pack(WHOLE))]
    assert ask(client()).text == "Factuality Score: 7"
    assert server.requests[0][1]["Accept-Encoding"] == "gzip, deflate"


def test_counts_that_no_server_can_mean_are_none(server, client):
    usage = {"prompt_tokens": 10**4000, "completion_tokens": -1}
    server.script = [(200, {}, completion("7") | {"usage": usage})]
    reply = ask(client())
    assert (reply.prompt_tokens, reply.completion_tokens) == (0, 0)
