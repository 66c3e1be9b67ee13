"""The body of a judge's answer, of bounded size on the wire and unpacked: a server may be broken, or mean no good."""

import zlib
from dataclasses import dataclass

import httpx

MOST_BYTES = 4 * 2**20  # a reply has a few thousand
ACCEPTED = "gzip, deflate"


class UnusableBody(Exception):
    """The sentence says why: it is too large, or packed in a way that was not asked for."""


@dataclass(frozen=True)
class Answer:
    """status: HTTP's. body: unpacked."""

    status: int
    headers: httpx.Headers
    body: bytes


async def read(response: httpx.Response, most: int = MOST_BYTES) -> Answer:
    """The answer behind an open response, of which no more than `most` bytes are ever taken or made.

    Raises UnusableBody.
    """
    packed = bytearray()
    async for piece in response.aiter_raw():
        packed += piece
        if len(packed) > most:
            raise UnusableBody(f"an answer of more than {most:,} bytes")
    coding = response.headers.get("Content-Encoding", "identity").strip().lower()
    return Answer(response.status_code, response.headers, _unpacked(bytes(packed), coding, most))


def _unpacked(packed: bytes, coding: str, most: int) -> bytes:
    if coding in ("identity", "") or not packed:
        return packed
    if coding not in ("gzip", "deflate"):
        raise UnusableBody(f"an answer in the encoding '{coding[:40]}', which was not asked for")
    try:
        made = zlib.decompressobj(zlib.MAX_WBITS | 32).decompress(packed, most + 1)  # either of the two by its header
    except zlib.error:
        raise UnusableBody(f"an answer that is no {coding}") from None
    if len(made) > most:
        raise UnusableBody(f"an answer of more than {most:,} bytes when unpacked")
    return made
