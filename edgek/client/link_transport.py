"""The Transport of a node: its requests and watches as streams of its link."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager

import trio

from edgek.client import link_calls, link_messages
from edgek.client.link import GONE, Link, Stream
from edgek.client.link_calls import Head
from edgek.client.transport import Disconnected, Request, Response, StreamResponse, Transport

ANSWER_S = 60.0  # a whole answer, as over HTTPS; a stream has no limit


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
            async with _asked(link, request) as (_, head, body):
                return Response(head["status"], head["headers"], body)
        raise Disconnected(f"the server did not answer within {ANSWER_S:.0f} s")

    @asynccontextmanager
    async def stream(self, request: Request) -> AsyncIterator[StreamResponse]:
        link = await self._current()
        if link is None:
            async with self._fallback.stream(request) as answer:
                yield answer
            return
        async with _asked(link, request) as (stream, head, body):
            yield LinkStream(stream, head, body)


@asynccontextmanager
async def _asked(link: Link, request: Request) -> AsyncIterator[tuple[Stream, Head, bytes]]:
    """The answer's first message is in. A broken way becomes Disconnected, also in the block."""
    stream: Stream | None = None
    try:
        stream = link.open()
        await link_messages.send(stream, link_calls.request_head(request), request.body, last=True)
        yield stream, *await link_messages.receive(stream)
    except GONE as exc:
        raise Disconnected(f"the link to the server broke: {exc}") from exc
    finally:
        if stream is not None:
            stream.drop()


class LinkStream:
    """See ``client.transport.StreamResponse``. ``body`` is all of an answer that turned out to be whole."""

    def __init__(self, stream: Stream, head: Head, body: bytes) -> None:
        self._stream = stream
        self._body = body
        self.status: int = head["status"]
        self.headers: Mapping[str, str] = head["headers"]

    async def read(self) -> bytes:
        return b"".join([chunk async for chunk in self.chunks()])

    async def chunks(self) -> AsyncIterator[bytes]:
        if self._body:
            yield self._body
        try:
            while (message := await link_messages.receive_more(self._stream)) is not None:
                yield message
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
