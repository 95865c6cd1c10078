"""The Transport of a node: its requests and watches as streams of its link."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Protocol

import trio

from edgek.client import link_calls, link_messages
from edgek.client.link import GONE, Link, Stream
from edgek.client.link_calls import Head
from edgek.client.transport import Disconnected, Request, Response, StreamResponse, Transport, Unlinked, lines_of

STALLED_S = 60.0  # without a byte of what is asked or answered. A long answer takes its time on a thin way; a watch has no limit


class Way(Protocol):
    """Where a link comes from."""

    async def current(self, *, patient: bool = False) -> Link | None:
        """The link, for which it waits: a moment while it is being dialled, or ``patient`` for as long as it takes.

        None where the server is there and takes no link. Raises Disconnected where it cannot be reached.
        """
        ...


class LinkTransport:
    """See ``client.transport.Transport``. Requests go by ``fallback`` where the server takes no link."""

    def __init__(self, way: Way, fallback: Transport) -> None:
        self._way = way
        self._fallback = fallback

    async def request(self, request: Request) -> Response:
        link = await self._way.current(patient=request.patient)
        if link is None:
            return await self._fallback.request(request)
        with trio.move_on_after(STALLED_S) as scope:
            async with _asked(link, request, scope) as (_, head, body):
                return Response(head["status"], head["headers"], body)
        raise Disconnected(f"the server said nothing for {STALLED_S:.0f} s")

    @asynccontextmanager
    async def stream(self, request: Request) -> AsyncIterator[StreamResponse]:
        link = await self._way.current(patient=request.patient)
        if link is None:
            async with self._fallback.stream(request) as answer:
                yield answer
            return
        async with _asked(link, request) as (stream, head, body):
            yield LinkStream(stream, head, body)


@asynccontextmanager
async def _asked(link: Link, request: Request, scope: trio.CancelScope | None = None) -> AsyncIterator[tuple[Stream, Head, bytes]]:
    """The answer's first message is in. A broken way becomes Disconnected, also in the block."""
    stream: Stream | None = None
    try:
        stream = link.open()
        stream.stalled = (scope, STALLED_S) if scope else None
        await link_messages.send(stream, link_calls.request_head(request), request.body, last=True)
        yield stream, *await link_messages.receive(stream)
    except GONE as exc:
        raise Unlinked(f"the link to the server broke: {exc}") from exc
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
            raise Unlinked(f"the link to the server broke: {exc}") from exc

    def lines(self) -> AsyncIterator[bytes]:
        return lines_of(self.chunks())
