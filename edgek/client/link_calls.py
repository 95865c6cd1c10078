"""Requests and answers over a stream of the link: a head (its length and JSON), then bytes. Also the Transport made of that."""

from __future__ import annotations

import struct
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from typing import Any

import orjson
import trio

from edgek.client.link import GONE, Link, Stream
from edgek.client.transport import Disconnected, Request, Response, StreamResponse, Transport

LENGTH = struct.Struct(">I")
HEAD_LIMIT = 256 * 1024  # bytes of a head
ANSWER_S = 60.0  # a whole answer, as over HTTPS; a stream has no limit

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


class LinkTransport:
    """See ``client.transport.Transport``. While there is no link, requests go by ``fallback``.

    ``current`` waits a moment for a link that is being dialled, and gives None where that does not come.
    """

    def __init__(self, current: Callable[[], Awaitable[Link | None]], fallback: Transport) -> None:
        self._current = current
        self._fallback = fallback

    async def request(self, request: Request) -> Response:
        link = await self._current()
        if link is None:
            return await self._fallback.request(request)
        with trio.move_on_after(ANSWER_S):
            async with _asked(link, request) as (stream, head):
                return Response(head["status"], head["headers"], await rest(stream))
        raise Disconnected(f"the server did not answer within {ANSWER_S:.0f} s")

    @asynccontextmanager
    async def stream(self, request: Request) -> AsyncIterator[StreamResponse]:
        link = await self._current()
        if link is None:
            async with self._fallback.stream(request) as answer:
                yield answer
            return
        async with _asked(link, request) as (stream, head):
            yield LinkStream(stream, head)


@asynccontextmanager
async def _asked(link: Link, request: Request) -> AsyncIterator[tuple[Stream, Head]]:
    """The answer's head is in. A broken way becomes Disconnected, also in the block."""
    stream: Stream | None = None
    try:
        stream = link.open()
        await send_head(stream, request_head(request), request.body, last=True)
        yield stream, await receive_head(stream)
    except GONE as exc:
        raise Disconnected(f"the link to the server broke: {exc}") from exc
    finally:
        if stream is not None:
            stream.drop()


class LinkStream:
    """See ``client.transport.StreamResponse``."""

    def __init__(self, stream: Stream, head: Head) -> None:
        self._stream = stream
        self.status: int = head["status"]
        self.headers: Mapping[str, str] = head["headers"]

    async def read(self) -> bytes:
        return b"".join([chunk async for chunk in self.chunks()])

    async def chunks(self) -> AsyncIterator[bytes]:
        try:
            async for data in chunks(self._stream):
                yield data
        except GONE as exc:
            raise Disconnected(f"the link to the server broke: {exc}") from exc

    async def lines(self) -> AsyncIterator[bytes]:
        """Events of a watch, whichever way they were cut."""
        left = b""
        async for chunk in self.chunks():
            *lines, left = (left + chunk).split(b"\n")
            for line in lines:
                yield line
        if left:
            yield left
