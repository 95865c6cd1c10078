"""The API without a socket: a Transport for the parts of the server's own process, as one fixed User.

Nobody has to authenticate; authorisation, admission and everything else are the same.
"""

from __future__ import annotations

from collections import deque
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager

import trio

from edgek.client.transport import Request, Response
from edgek.server.api.app import Api
from edgek.server.api.identity import User
from edgek.server.api.negotiation import joined
from edgek.server.api.responses import Cut, Line, Streaming, Upgrade

PENDING_LINES = 10_000  # a reader this far behind is cut off, and lists again
DRAINED_LINES = 256


class LocalTransport:
    def __init__(self, api: Api, user: User) -> None:
        self._api = api
        self._user = user

    async def request(self, request: Request) -> Response:
        await trio.lowlevel.checkpoint()
        answer = await self._api.handle_as(request, self._user)
        if isinstance(answer, (Streaming, Upgrade)):
            raise TypeError(f"{request.path} goes on: use stream()")
        return Response(answer.status, answer.headers, joined(answer))

    @asynccontextmanager
    async def stream(self, request: Request) -> AsyncIterator[LocalStream]:
        answer = await self._api.handle_as(request, self._user)
        if isinstance(answer, Upgrade):
            raise TypeError(f"{request.path} takes the connection over, and there is none")
        if not isinstance(answer, Streaming):
            yield LocalStream(answer.status, answer.headers, _whole(joined(answer)))
            return
        sink = LineQueue()
        raised: Exception | None = None
        async with trio.open_nursery() as nursery:
            nursery.start_soon(sink.fill, answer)
            try:
                yield LocalStream(answer.status, answer.headers, sink)
            except Exception as exc:  # not handled: raised below, where the nursery does not wrap it into a group
                raised = exc
            nursery.cancel_scope.cancel()
        if raised is not None:
            raise raised


class LineQueue:
    """A Sink whose reader sits in the same process, or hands on what he reads."""

    def __init__(self) -> None:
        self._lines: deque[Line] = deque()
        self._wake = trio.Event()
        self._taken = trio.Event()
        self._ended = False
        self._scope: trio.CancelScope | None = None

    async def fill(self, answer: Streaming) -> None:
        try:
            await answer.run(self)
        except Cut:
            pass
        finally:
            self.end()

    def end(self) -> None:
        self._ended = True
        self._wake.set()
        self._taken.set()
        if self._scope is not None:
            self._scope.cancel()

    def push(self, *lines: Line) -> None:
        if self._ended or not lines:
            return
        self._lines.extend(lines)
        self._wake.set()
        if len(self._lines) > PENDING_LINES:
            self._lines.clear()
            self.end()

    async def drain(self) -> None:
        await trio.lowlevel.checkpoint()
        while len(self._lines) > DRAINED_LINES and not self._ended:
            self._taken = trio.Event()
            await self._taken.wait()
        if self._ended:
            raise Cut

    async def pause(self, until: float) -> bool:
        if self._ended:
            return False
        with trio.CancelScope(deadline=until) as self._scope:
            await trio.sleep_forever()
        self._scope = None
        return not self._ended

    async def next_line(self) -> Line | None:
        """None at the end."""
        await trio.lowlevel.checkpoint()
        while not self._lines:
            if self._ended:
                return None
            self._wake = trio.Event()
            await self._wake.wait()
        line = self._lines.popleft()
        if len(self._lines) <= DRAINED_LINES:
            self._taken.set()
        return line


def _whole(body: bytes) -> LineQueue:
    """A whole answer, read as a stream."""
    queue = LineQueue()
    queue.push(Line(body))
    queue.end()
    return queue


class LocalStream:
    """See ``client.transport.StreamResponse``."""

    def __init__(self, status: int, headers: Mapping[str, str], queue: LineQueue) -> None:
        self.status = status
        self.headers = headers
        self._queue = queue

    async def read(self) -> bytes:
        return b"".join([chunk async for chunk in self.chunks()])

    async def chunks(self) -> AsyncIterator[bytes]:
        while (line := await self._queue.next_line()) is not None:
            yield line.line

    async def lines(self) -> AsyncIterator[bytes]:
        async for chunk in self.chunks():
            yield chunk.rstrip(b"\n")
