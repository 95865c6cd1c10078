"""What a server asks of a node, over a stream of the link: a head (its length and JSON), then bytes. Likewise the answer."""

from __future__ import annotations

import struct
from collections.abc import AsyncIterator, Mapping
from typing import Any

import orjson
import trio

from edgek.client.link import Stream
from edgek.client.transport import Request

LENGTH = struct.Struct(">I")
HEAD_LIMIT = 256 * 1024  # bytes of a head

Head = dict[str, Any]


class BrokenOff(trio.BrokenResourceError):
    """The stream ended in the middle of something."""


async def send_head(stream: Stream, head: Mapping[str, Any], rest: bytes = b"", *, last: bool = False) -> None:
    raw = orjson.dumps(head)
    await stream.send(LENGTH.pack(len(raw)) + raw + rest, last=last)


async def receive_head(stream: Stream) -> Head:
    """Raises BrokenOff."""
    size = LENGTH.unpack(await receive_exactly(stream, LENGTH.size))[0]
    if size > HEAD_LIMIT:
        raise BrokenOff(f"a head of {size} bytes")
    try:
        head: Head = orjson.loads(await receive_exactly(stream, size))
    except orjson.JSONDecodeError as exc:
        raise BrokenOff(f"a head that cannot be read: {exc}") from None
    return head


async def receive_exactly(stream: Stream, size: int) -> bytes:
    """Raises BrokenOff."""
    found = bytearray()
    while len(found) < size:
        data = await stream.receive_some()
        if not data:
            raise BrokenOff("the stream ended too early")
        found += data
    stream.push_back(bytes(found[size:]))
    return bytes(found[:size])


async def chunks(stream: Stream) -> AsyncIterator[bytes]:
    while data := await stream.receive_some():
        yield data


async def rest(stream: Stream) -> bytes:
    return b"".join([data async for data in chunks(stream)])


def request_head(request: Request) -> Head:
    return {"method": request.method, "path": request.path, "query": request.query, "headers": dict(request.headers)}


def request_of(head: Head, body: bytes) -> Request:
    """Raises BrokenOff."""
    try:
        query = tuple((str(key), str(value)) for key, value in head["query"])
        return Request(str(head["method"]), str(head["path"]), query, {str(key): str(value) for key, value in head["headers"].items()}, body)
    except (KeyError, TypeError, ValueError, AttributeError) as exc:
        raise BrokenOff(f"no request: {exc}") from None
