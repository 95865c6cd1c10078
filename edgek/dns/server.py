"""The DNS server of a node: UDP and TCP on the cluster's DNS address.

UDP is read in bursts: one wait, then up to a burst of questions answered without one, which is where the speed comes from. What cannot be answered
from memory gets a task of its own. It goes on answering for the cluster's names while the API server is away: the caches stay as they were.
"""

from __future__ import annotations

import errno
import socket
from collections.abc import Sequence
from contextlib import ExitStack

import trio

from edgek.dns import wire
from edgek.dns.plugin import Plugin
from edgek.dns.wire import Answer, BadMessage, Query

BURST = 64  # questions between two looks at everything else
SLOW_MOST = 256  # questions waiting for a resolver; more are answered SERVFAIL at once
BUFFER_BYTES = 1 << 20  # of the socket, so that a burst of pods starting is not dropped
LARGEST = 65535
IDLE_S = 30.0  # of a TCP connection
CONNECTIONS = 128
UNSAYABLE = Answer(wire.SERVFAIL)  # somebody wrote a name into an object that DNS cannot carry


class Server:
    """``address`` must already be ours. Questions of ``plugins`` are asked in order."""

    def __init__(self, address: str, port: int, plugins: Sequence[Plugin] = ()) -> None:
        self._address = address
        self._port = port
        self.plugins = list(plugins)
        self._slow = 0

    @property
    def port(self) -> int:
        """The one in use, where 0 was asked for."""
        return self._port

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Serve for ever. Raises OSError when the address or port is not to be had."""
        udp, listeners = await self._listen()
        with udp:
            async with trio.open_nursery() as nursery:
                await nursery.start(self._serve_tcp, listeners)
                nursery.start_soon(self._serve_udp, udp, nursery)
                task_status.started()

    async def _listen(self) -> tuple[socket.socket, list[trio.SocketListener]]:
        """UDP and TCP of one port: where any will do, of one that nobody has of either. Raises OSError."""
        while True:
            with ExitStack() as unless_both:
                udp = unless_both.enter_context(socket.socket(socket.AF_INET, socket.SOCK_DGRAM))
                udp.setblocking(False)
                udp.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, BUFFER_BYTES)
                udp.bind((self._address, self._port))
                port = udp.getsockname()[1]
                try:
                    listeners = await trio.open_tcp_listeners(port, host=self._address)
                except OSError as exc:
                    if self._port or exc.errno != errno.EADDRINUSE:
                        raise
                    continue
                unless_both.pop_all()
                self._port = port
                return udp, listeners

    async def ask(self, query: Query) -> list[bytes] | None:
        """The contents of the records that answer a query of our own; None when it failed."""
        found = self._now(query) or await self._later(query)
        if found.rcode not in (wire.NOERROR, wire.NXDOMAIN):
            return None
        return wire.contents(wire.reply(query, found, LARGEST), query.question.type)

    async def _serve_udp(self, udp: socket.socket, nursery: trio.Nursery) -> None:
        receive, send, handle = udp.recvfrom, udp.sendto, self._handle
        while True:
            await trio.lowlevel.wait_readable(udp)
            for _ in range(BURST):
                try:
                    message, client = receive(LARGEST)
                except BlockingIOError:
                    break
                except OSError:
                    continue  # an ICMP error of an earlier answer: nobody's business
                answer = handle(message, client, udp, nursery)
                if answer:
                    try:
                        send(answer, client)
                    except OSError:
                        continue  # a full buffer or a client that went: it will ask again
            await trio.lowlevel.checkpoint()

    def _handle(self, message: bytes, client: tuple[str, int], udp: socket.socket, nursery: trio.Nursery) -> bytes:
        """The answer, or nothing when it comes later."""
        try:
            query = wire.parse(message)
        except BadMessage:
            return _malformed(message)
        answer = self._now(query)
        if answer is None and self._slow >= SLOW_MOST:
            answer = Answer(wire.SERVFAIL, authoritative=False)
        if answer is None:
            self._slow += 1
            nursery.start_soon(self._answer_later, query, client, udp)
            return b""
        return wire.reply(query, answer, query.size)

    async def _answer_later(self, query: Query, client: tuple[str, int], udp: socket.socket) -> None:
        try:
            raw = wire.reply(query, await self._later(query), query.size)
        finally:
            self._slow -= 1
        try:
            udp.sendto(raw, client)
        except OSError:
            return  # it will ask again

    def _now(self, query: Query) -> Answer | None:
        try:
            for plugin in self.plugins:
                answer = plugin.lookup(query)
                if answer is not None:
                    return answer
        except BadMessage:
            return UNSAYABLE
        return None

    async def _later(self, query: Query) -> Answer:
        try:
            for plugin in self.plugins:
                answer = await plugin.resolve(query)
                if answer is not None:
                    return answer
        except BadMessage:
            return UNSAYABLE
        return Answer(wire.REFUSED, authoritative=False)

    async def _serve_tcp(self, listeners: list[trio.SocketListener], *, task_status: trio.TaskStatus[None]) -> None:
        limit = trio.Semaphore(CONNECTIONS)

        async def connection(stream: trio.SocketStream) -> None:
            async with limit, stream:
                try:
                    await self._converse(stream)
                except (trio.BrokenResourceError, trio.TooSlowError):
                    return  # the client's affair

        await trio.serve_listeners(connection, listeners, task_status=task_status)  # type: ignore[arg-type]  # it tells the listeners, we tell nothing

    async def _converse(self, stream: trio.SocketStream) -> None:
        raw = b""
        while True:
            while len(raw) < 2 or len(raw) < 2 + int.from_bytes(raw[:2]):
                with trio.fail_after(IDLE_S):
                    part = await stream.receive_some()
                if not part:
                    return
                raw += part
            end = 2 + int.from_bytes(raw[:2])
            message, raw = raw[2:end], raw[end:]
            try:
                query = wire.parse(message)
                answer = wire.reply(query, self._now(query) or await self._later(query), LARGEST)
            except BadMessage:
                answer = _malformed(message)
            if not answer:
                return
            with trio.fail_after(IDLE_S):
                await stream.send_all(len(answer).to_bytes(2) + answer)


def _malformed(message: bytes) -> bytes:
    """To an answer, or to less than a header, nothing is said: it could be a reflection."""
    if len(message) < wire.HEADER or message[2] & 0x80:
        return b""
    return wire.refusal(message, wire.NOTIMP if message[2] & 0x78 else wire.FORMERR)
