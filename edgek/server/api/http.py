"""HTTP/1.1 over TLS on trio, as thin as it can be: parse, hand over, send. Knows nothing of Kubernetes.

One task per connection. A stream (a watch) is written to without waiting by whoever has something to say (``outgoing.SocketSink``); the connection's
own task only waits for the reader to hang up. An upgrade hands the raw connection over.
"""

from __future__ import annotations

import math
import socket
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence

import attrs
import httptools
import trio

from edgek.client.transport import Request, Response
from edgek.host import log, tls
from edgek.server.api.incoming import Parser, TooMuch
from edgek.server.api.outgoing import SocketSink, head, refusal
from edgek.server.api.responses import Answer, Cut, Parts, Streaming, Upgrade

HANDSHAKE_S = 10.0
REQUEST_S = 60.0  # from a request's first byte to its last
STALLED_MS = 120_000  # a reader that takes nothing for so long is gone; the kernel watches that
IDLE_S = 300.0  # between requests; Go's clients give up after 90 themselves
BACKLOG = 512  # connections that wait to be accepted
SMALL = 32 * 1024  # a body up to this size is sent together with its head

_CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"


@attrs.frozen
class Peer:
    """Who is at the other end. ``certificate`` is DER, verified against the client CA."""

    address: str
    certificate: bytes | None = None


Handler = Callable[[Request, Peer], Awaitable[Answer]]


async def serve(
    handler: Handler,
    listeners: Sequence[socket.socket],
    context: ssl.SSLContext | tls.Serving | None,
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


async def _accept(nursery: trio.Nursery, handler: Handler, listener: socket.socket, context: ssl.SSLContext | tls.Serving | None) -> None:
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
        parser = Parser()
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
                    if parser.streams and not parser.ready:
                        scope.deadline = math.inf
                        await self._pass_on(parser, request, peer)
                        return
                    answer = await self._handler(request, peer)
                    if isinstance(answer, Upgrade):
                        scope.deadline = math.inf
                        del parser
                        self._channel.push_back(leftover or b"")
                        self._channel.be_patient()
                        await answer.run(self._channel)
                        return
                    keep = keep and leftover is None
                    if isinstance(answer, Streaming):
                        keep = keep and not parser.ready
                        scope.deadline = math.inf
                        del parser  # a watch may last for hours: keep little
                        await self._stream(answer, keep=keep)
                        parser = Parser()
                    else:
                        await self._send(answer, keep=keep, head_only=request.method == "HEAD")
                    if not keep:
                        return
                if leftover is not None:
                    return

    async def _pass_on(self, parser: Parser, request: Request, peer: Peer) -> None:
        """A request whose body is read by whoever answers it. The connection ends with it."""
        answer = await self._handler(attrs.evolve(request, rest=self._rest(parser)), peer)
        if isinstance(answer, Streaming):
            await self._stream(answer, keep=False)
        elif not isinstance(answer, Upgrade):
            await self._send(answer, keep=False, head_only=False)
        if parser.streams:
            await self._hear_out()

    async def _rest(self, parser: Parser) -> AsyncIterator[bytes]:
        while parser.streams or parser.pieces:
            while parser.pieces:
                yield parser.pieces.popleft()
            if parser.streams:
                await self._read_into(parser)

    async def _receive(self, parser: Parser) -> bytes | None:
        """Read until a request is whole. Raises Cut at the end of the connection, or when a bad request was refused."""
        leftover = await self._read_into(parser)
        if parser.ready:
            return leftover
        with trio.move_on_after(REQUEST_S):
            while leftover is None and not parser.ready:
                leftover = await self._read_into(parser)
            return leftover
        raise Cut

    async def _read_into(self, parser: Parser) -> bytes | None:
        await self._channel.wait_readable()
        data = await self._channel.receive_some()
        if not data:
            raise Cut
        try:
            leftover = parser.feed(data)
        except TooMuch as too_much:
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
        """Say why, then hang up."""
        await self._send(refusal(status), keep=False, head_only=False)
        await self._hear_out()

    async def _hear_out(self) -> None:
        """What the client is still sending is read for a moment, or it would see a reset instead of the answer."""
        with trio.move_on_after(2.0):
            while await self._channel.receive_some():
                await trio.lowlevel.checkpoint()

    async def _send(self, answer: Response | Parts, *, keep: bool, head_only: bool) -> None:
        size = answer.size if isinstance(answer, Parts) else len(answer.body)
        start = head(answer.status, answer.headers, "" if keep else "connection: close\r\n", f"content-length: {size}\r\n")
        if size > SMALL:  # a thin line may need long for it: whether it moves at all is the kernel's watch (STALLED_MS)
            self._scope.deadline = math.inf
        if head_only:
            await self._channel.send_all(start)
        elif isinstance(answer, Parts):
            await self._channel.send_all(start)
            for piece in answer.parts:
                await self._channel.send_all(piece)
        elif size <= SMALL:
            await self._channel.send_all(start + answer.body)
        else:
            await self._channel.send_all(start)
            await self._channel.send_all(answer.body)

    async def _stream(self, answer: Streaming, *, keep: bool) -> None:
        """Raises Cut when the reader was lost, or the stream did not come to its end."""
        start = head(answer.status, answer.headers, "" if keep else "connection: close\r\n", "transfer-encoding: chunked\r\n")
        await self._channel.send_all(start)
        sink = SocketSink(self._channel, self._nursery)
        await answer.run(sink)
        await sink.finish()
