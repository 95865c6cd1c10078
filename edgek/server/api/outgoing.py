"""What goes out on a connection: the head of an answer, the answer to what was no request, and streams with their bounded buffer."""

from __future__ import annotations

import ssl
from collections import deque
from collections.abc import Mapping
from datetime import UTC, datetime
from http import HTTPStatus

import trio

from edgek.client.transport import Response
from edgek.host import tls, wallclock
from edgek.server.api.incoming import BODY_LIMIT
from edgek.server.api.responses import Cut, Line

STREAM_BUFFER = 4 * 1024 * 1024  # bytes waiting for one reader of a stream: who is this far behind is cut off, and lists again
DRAIN_MARK = 256 * 1024  # bytes: below this a stream's buffer counts as drained

_REASONS = {status.value: f"HTTP/1.1 {status.value} {status.phrase}\r\n" for status in HTTPStatus}


def refusal(status: int) -> Response:
    """The answer to what was not even a request."""
    if status == 413:
        body = (
            b'{"kind":"Status","apiVersion":"v1","metadata":{},"status":"Failure","message":"Request entity too large: limit is %d",'
            b'"reason":"RequestEntityTooLarge","code":413}' % BODY_LIMIT
        )
        return Response(413, {"content-type": "application/json"}, body)
    return Response(status, {"content-type": "text/plain; charset=utf-8"}, f"{status} {HTTPStatus(status).phrase}".encode())


class _Date:
    second = 0
    line = ""


def _several(name: str, values: str) -> str:
    return "".join([f"{name}: {value}\r\n" for value in values.split("\n")])


def head(status: int, headers: Mapping[str, str], connection: str, framing: str) -> bytes:
    second = int(wallclock.now())
    if second != _Date.second:
        _Date.second, _Date.line = second, f"date: {datetime.fromtimestamp(second, UTC):%a, %d %b %Y %H:%M:%S} GMT\r\n"
    # Several headers of one name (warnings, cookies) are kept apart by line breaks.
    lines = "".join([f"{name}: {value}\r\n" if "\n" not in value else _several(name, value) for name, value in headers.items()])
    first = _REASONS.get(status) or f"HTTP/1.1 {status} \r\n"
    return f"{first}{_Date.line}{lines}{connection}{framing}\r\n".encode("latin-1", "replace")


class SocketSink:
    """A stream towards a socket. Whoever pushes writes at once; what the socket does not take waits here, up to ``STREAM_BUFFER``."""

    __slots__ = ("_buffer", "_channel", "_cut", "_drained", "_flushing", "_interrupted", "_nursery", "_scope", "_size")

    def __init__(self, channel: tls.Channel, nursery: trio.Nursery) -> None:
        self._channel = channel
        self._nursery = nursery
        self._buffer: deque[bytes | memoryview] | None = None
        self._size = 0
        self._flushing = False
        self._cut = False
        self._interrupted = False
        self._scope: trio.CancelScope | None = None
        self._drained: trio.Event | None = None

    def push(self, *lines: Line) -> None:
        if lines:
            self._write(lines[0].framed if len(lines) == 1 else b"".join([line.framed for line in lines]))

    def _write(self, data: bytes) -> None:
        if self._cut:
            return
        rest: bytes | memoryview = data
        if not self._size:
            try:
                sent = self._channel.send_now(data)
            except OSError:
                self._cut_off()
                return
            if sent == len(data):
                return
            rest = memoryview(data)[sent:]
        if self._buffer is None:
            self._buffer = deque()
        self._buffer.append(rest)
        self._size += len(rest)
        if self._size > STREAM_BUFFER:
            self._cut_off()
        elif not self._flushing:
            self._flushing = True
            self._nursery.start_soon(self._flush)

    async def _flush(self) -> None:
        try:
            while self._buffer and not self._cut:
                await self._channel.wait_writable()
                piece = self._buffer[0]
                sent = self._channel.send_now(piece)
                self._size -= sent
                if sent == len(piece):
                    self._buffer.popleft()
                else:
                    self._buffer[0] = memoryview(piece)[sent:]
                if self._size <= DRAIN_MARK:
                    self._tell_drained()
            self._buffer = None
        except (OSError, trio.ClosedResourceError):
            self._cut_off()
        finally:
            self._flushing = False
            self._tell_drained()

    def _tell_drained(self) -> None:
        if self._drained is not None:
            self._drained.set()
            self._drained = None

    def _cut_off(self) -> None:
        self._cut = True
        self._buffer = None
        self._size = 0
        self._tell_drained()
        if self._scope is not None:
            self._scope.cancel()

    async def drain(self) -> None:
        await trio.lowlevel.checkpoint()
        while self._size > DRAIN_MARK and not self._cut:
            await self._wait_drained()
        if self._cut:
            raise Cut

    async def _wait_drained(self) -> None:
        if self._drained is None:
            self._drained = trio.Event()
        await self._drained.wait()

    async def pause(self, until: float) -> bool:
        """Nothing that the reader sends during a stream means anything, but its end does."""
        if self._cut:
            return False
        with trio.CancelScope(deadline=until) as self._scope:
            while not self._hung_up():
                await self._channel.wait_readable()
            self._cut = True
        self._scope = None
        return not self._cut

    def _hung_up(self) -> bool:
        try:
            read = self._channel.receive_now()
        except (BlockingIOError, ssl.SSLWantReadError, ssl.SSLWantWriteError):
            return False
        except OSError:
            return True
        self._interrupted = True
        return not read

    async def finish(self) -> None:
        """Say that the stream ended, and see it through. Raises Cut when the reader is gone, or said something that was not listened to."""
        self._write(b"0\r\n\r\n")
        while self._size and not self._cut:
            await self._wait_drained()
        if self._cut or self._interrupted:
            raise Cut
