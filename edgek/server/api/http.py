"""HTTP/1.1 over TLS on trio, as thin as it can be: parse, hand over, send. Knows nothing of Kubernetes.

One task per connection. A stream (a watch) is written to without waiting by whoever has something to say (``push``), from a bounded buffer; the
connection's own task only waits for the reader to hang up. An upgrade hands the raw connection over.

httptools has no limits of its own: those below are ours.
"""

from __future__ import annotations

import math
import socket
import ssl
from collections import deque
from collections.abc import Awaitable, Callable, Mapping, Sequence
from email.utils import formatdate
from http import HTTPStatus
from urllib.parse import parse_qsl, unquote

import attrs
import httptools
import trio

from edgek.client.transport import Request, Response
from edgek.host import log, tls, wallclock
from edgek.server.api.responses import Answer, Cut, Line, Parts, Streaming, Upgrade

HANDSHAKE_S = 10.0
REQUEST_S = 60.0  # from a request's first byte to its last
STALLED_MS = 120_000  # a reader that takes nothing for so long is gone; the kernel watches that
IDLE_S = 300.0  # between requests; Go's clients give up after 90 themselves
HEAD_LIMIT = 128 * 1024  # bytes of request line and headers
BODY_LIMIT = 3 * 1024 * 1024  # bytes; upstream's
STREAM_BUFFER = 4 * 1024 * 1024  # bytes waiting for one reader of a stream: who is this far behind is cut off, and lists again
DRAIN_MARK = 256 * 1024  # bytes: below this a stream's buffer counts as drained
BACKLOG = 512
SMALL = 32 * 1024  # a body up to this size is sent together with its head

_CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"
_REASONS = {status.value: f"HTTP/1.1 {status.value} {status.phrase}\r\n" for status in HTTPStatus}


@attrs.frozen
class Peer:
    """Who is at the other end. ``certificate`` is DER, verified against the client CA."""

    address: str
    certificate: bytes | None = None


Handler = Callable[[Request, Peer], Awaitable[Answer]]


async def serve(
    handler: Handler,
    listeners: Sequence[socket.socket],
    context: ssl.SSLContext | None,
    *,
    task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED,
) -> None:
    """Answer on bound sockets until cancelled. ``handler`` never raises. Without a ``context`` there is no TLS (tests)."""
    async with trio.open_nursery() as nursery:
        for listener in listeners:
            listener.setblocking(False)
            listener.listen(BACKLOG)
            nursery.start_soon(_accept, nursery, handler, listener, context)
        task_status.started()


async def _accept(nursery: trio.Nursery, handler: Handler, listener: socket.socket, context: ssl.SSLContext | None) -> None:
    while True:
        try:
            sock, _ = listener.accept()
        except BlockingIOError:
            await trio.lowlevel.wait_readable(listener)
            continue
        except ConnectionAbortedError:
            continue
        except OSError as exc:  # out of file descriptors, most likely
            log.error("cannot accept a connection", error=exc)
            await trio.sleep(1.0)
            continue
        _tune(sock)
        try:
            channel = tls.wrap_server(sock, context)
        except OSError:  # it hung up already
            sock.close()
            continue
        nursery.start_soon(_Connection(channel, handler, nursery).run)


def _tune(sock: socket.socket) -> None:
    """No delays, and a dead peer is noticed: a node behind a cut cable must not hold its watches for ever."""
    if sock.family not in (socket.AF_INET, socket.AF_INET6):
        return
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, 60)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, 20)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPCNT, 3)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, STALLED_MS)


class _TooMuch(Exception):
    """A request beyond our limits; the answer to it."""

    def __init__(self, status: int) -> None:
        super().__init__(status)
        self.status = status


class _Parser:
    """Collects requests from bytes. ``ready`` holds whole ones, each with whether the connection may be used again."""

    def __init__(self) -> None:
        self.ready: deque[tuple[Request, bool]] = deque()
        self.expects_continue = False
        self.parser = httptools.HttpRequestParser(self)

    def feed(self, data: bytes) -> bytes | None:
        """Bytes after a request that asks for another protocol; None mostly. Raises ``_TooMuch`` and HttpParserError."""
        try:
            self.parser.feed_data(data)
        except httptools.HttpParserUpgrade as upgrade:
            return data[upgrade.args[0] :]
        except httptools.HttpParserCallbackError as exc:
            if isinstance(exc.__context__, _TooMuch):
                raise exc.__context__ from None
            raise
        return None

    def on_message_begin(self) -> None:
        self._url = b""
        self._headers: dict[str, str] = {}
        self._head_bytes = 0
        self._body: list[bytes] = []
        self._body_bytes = 0

    def on_url(self, url: bytes) -> None:
        self._url += url
        self._count_head(len(url))

    def on_header(self, name: bytes, value: bytes) -> None:
        self._count_head(len(name) + len(value) + 4)
        key, text = name.decode("latin-1").lower(), value.decode("latin-1")
        # Repeated headers are kept apart by a line break, which no value can hold: names in Impersonate-Group may hold commas.
        self._headers[key] = f"{self._headers[key]}\n{text}" if key in self._headers else text

    def _count_head(self, size: int) -> None:
        self._head_bytes += size
        if self._head_bytes > HEAD_LIMIT:
            raise _TooMuch(431)

    def on_headers_complete(self) -> None:
        length = self._headers.get("content-length", "")
        if length.isdigit() and int(length) > BODY_LIMIT:
            raise _TooMuch(413)
        self.expects_continue = self._headers.get("expect", "").lower() == "100-continue"

    def on_body(self, body: bytes) -> None:
        self._body_bytes += len(body)
        if self._body_bytes > BODY_LIMIT:
            raise _TooMuch(413)
        self._body.append(body)

    def on_message_complete(self) -> None:
        self.expects_continue = False
        path, query = _split(self._url)
        body = self._body[0] if len(self._body) == 1 else b"".join(self._body)
        request = Request(self.parser.get_method().decode("ascii"), path, query, self._headers, body)
        self.ready.append((request, self.parser.should_keep_alive()))


def _split(url: bytes) -> tuple[str, tuple[tuple[str, str], ...]]:
    text = url.decode("latin-1")
    if not text.startswith("/"):  # a request to a proxy names the host, too
        text = "/" + text.partition("://")[2].partition("/")[2]
    path, mark, query = text.partition("?")
    if "%" in path:
        path = unquote(path)
    return path, tuple(parse_qsl(query, keep_blank_values=True)) if mark else ()


class _Connection:
    """One client from handshake to farewell."""

    def __init__(self, channel: tls.Channel, handler: Handler, nursery: trio.Nursery) -> None:
        self._channel = channel
        self._handler = handler
        self._nursery = nursery
        self._scope = trio.CancelScope()

    async def run(self) -> None:
        try:
            with trio.move_on_after(HANDSHAKE_S) as scope:
                await self._channel.handshake()
            if not scope.cancelled_caught:
                await self._serve(Peer(self._channel.peer_address, self._channel.peer_certificate()))
        except (OSError, trio.BrokenResourceError, trio.ClosedResourceError, Cut):
            pass  # a port scanner, a lost client: nothing that anybody has to know
        finally:
            self._channel.close()

    async def _serve(self, peer: Peer) -> None:
        parser = _Parser()
        with self._scope as scope:
            while True:
                # Moving a deadline costs as much as parsing a request: it is moved rarely, so a client has between 9/10 and all of IDLE_S.
                now = trio.current_time()
                if scope.deadline - now < IDLE_S * 0.9 or scope.deadline == math.inf:
                    scope.deadline = now + IDLE_S
                leftover = await self._receive(parser)
                pipelined = len(parser.ready) > 1
                while parser.ready:
                    request, keep = parser.ready.popleft()
                    if pipelined:
                        await trio.lowlevel.checkpoint()
                    answer = await self._handler(request, peer)
                    if isinstance(answer, (Streaming, Upgrade)):
                        scope.deadline = math.inf
                        del parser  # a watch may last for hours: keep little
                        await self._hand_over(answer, leftover or b"")
                        return
                    keep = keep and leftover is None
                    await self._send(answer, keep, request.method == "HEAD")
                    if not keep:
                        return
                if leftover is not None:
                    return

    async def _hand_over(self, answer: Streaming | Upgrade, leftover: bytes) -> None:
        """The rest of the connection's life belongs to this answer."""
        if isinstance(answer, Upgrade):
            self._channel.push_back(leftover)
            await answer.run(self._channel)
        else:
            await self._stream(answer)

    async def _receive(self, parser: _Parser) -> bytes | None:
        """Read until a request is whole. Raises Cut at the end of the connection, or when a bad request was refused."""
        leftover = await self._read_into(parser)
        if parser.ready:
            return leftover
        with trio.move_on_after(REQUEST_S):
            while leftover is None and not parser.ready:
                leftover = await self._read_into(parser)
            return leftover
        raise Cut

    async def _read_into(self, parser: _Parser) -> bytes | None:
        await self._channel.wait_readable()
        data = await self._channel.receive_some()
        if not data:
            raise Cut
        try:
            leftover = parser.feed(data)
        except _TooMuch as too_much:
            await self._refuse(too_much.status)
            raise Cut from None
        except httptools.HttpParserError:
            await self._refuse(400)
            raise Cut from None
        if parser.expects_continue:
            parser.expects_continue = False
            await self._channel.send_all(_CONTINUE)
        return leftover

    async def _refuse(self, status: int) -> None:
        """Say why, then hang up. What the client is still sending is read for a moment, or it would see a reset instead of the answer."""
        await self._send(refusal(status), keep=False, head_only=False)
        with trio.move_on_after(2.0):
            while await self._channel.receive_some():
                await trio.lowlevel.checkpoint()

    async def _send(self, answer: Response | Parts, keep: bool, head_only: bool) -> None:
        size = answer.size if isinstance(answer, Parts) else len(answer.body)
        head = _head(answer.status, answer.headers, "" if keep else "connection: close\r\n", f"content-length: {size}\r\n")
        if size > SMALL:  # a thin line may need long for it: whether it moves at all is the kernel's watch (STALLED_MS)
            self._scope.deadline = math.inf
        if head_only:
            await self._channel.send_all(head)
        elif isinstance(answer, Parts):
            await self._channel.send_all(head)
            for piece in answer.parts:
                await self._channel.send_all(piece)
        elif size <= SMALL:
            await self._channel.send_all(head + answer.body)
        else:
            await self._channel.send_all(head)
            await self._channel.send_all(answer.body)

    async def _stream(self, answer: Streaming) -> None:
        head = _head(answer.status, answer.headers, "", "transfer-encoding: chunked\r\n")
        await self._channel.send_all(head)
        sink = _SocketSink(self._channel, self._nursery)
        await answer.run(sink)
        await sink.finish()


class _SocketSink:
    """A stream towards a socket. Whoever pushes writes at once; what the socket does not take waits here, up to ``STREAM_BUFFER``."""

    __slots__ = ("_buffer", "_channel", "_cut", "_drained", "_flushing", "_nursery", "_scope", "_size")

    def __init__(self, channel: tls.Channel, nursery: trio.Nursery) -> None:
        self._channel = channel
        self._nursery = nursery
        self._buffer: deque[bytes | memoryview] | None = None
        self._size = 0
        self._flushing = False
        self._cut = False
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
            return not self._channel.receive_now()
        except (BlockingIOError, ssl.SSLWantReadError, ssl.SSLWantWriteError):
            return False
        except OSError:
            return True

    async def finish(self) -> None:
        """Say that the stream ended, and see it through."""
        self._write(b"0\r\n\r\n")
        while self._size and not self._cut:
            await self._wait_drained()


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


def _head(status: int, headers: Mapping[str, str], connection: str, framing: str) -> bytes:
    second = int(wallclock.now())
    if second != _Date.second:
        _Date.second, _Date.line = second, f"date: {formatdate(second, usegmt=True)}\r\n"
    lines = "".join([f"{name}: {value}\r\n" for name, value in headers.items() if name != "warning"])
    # Several warnings are several headers: they are kept apart by line breaks.
    warnings = headers.get("warning", "")
    said = "".join([f"warning: {line}\r\n" for line in warnings.split("\n")]) if warnings else ""
    first = _REASONS.get(status) or f"HTTP/1.1 {status} \r\n"
    return f"{first}{_Date.line}{lines}{said}{connection}{framing}\r\n".encode("latin-1", "replace")
