"""Questions that are not the cluster's go to the resolvers of this machine, and their answers into the cache.

Every question goes out from a socket of its own, so from a random port, with a random id. One that comes back to us is a loop: it is refused, and the
resolver named in the log.
"""

from __future__ import annotations

import secrets
from pathlib import Path

import trio

from edgek.dns import wire
from edgek.dns.cache import Cache
from edgek.dns.wire import Answer, BadMessage, Query
from edgek.host import log

TRY_S = 2.0  # for one resolver
TCP_S = 4.0
ROUNDS = 2  # over all resolvers, before it is a failure
LARGEST = 65535  # bytes, of a message over TCP
TRUNCATED = 0x02  # a bit of a header's third byte: the whole answer is to be had over TCP


class Resolvers:
    """The ``nameserver`` lines of a resolv.conf, read again when the file changes (DHCP, PPP). Never ourselves."""

    def __init__(self, path: Path, ourselves: str) -> None:
        self._path = path
        self._ourselves = ourselves
        self._stamp = -1
        self._servers: list[str] = []

    def current(self) -> list[str]:
        try:
            stamp = self._path.stat().st_mtime_ns
            if stamp != self._stamp:
                self._servers = self._read()
                self._stamp = stamp
        except OSError:
            self._servers, self._stamp = [], -1
        return self._servers

    def _read(self) -> list[str]:
        words = [line.split() for line in self._path.read_text().splitlines()]
        found = [parts[1] for parts in words if len(parts) > 1 and parts[0] == "nameserver"]
        return [server for server in found if server != self._ourselves]


class Forward:
    def __init__(self, resolvers: Resolvers, cache: Cache, port: int = 53) -> None:
        self._resolvers = resolvers
        self._cache = cache
        self._port = port
        self._asked: dict[tuple[bytes, bytes], str] = {}

    def lookup(self, query: Query) -> Answer | None:
        server = self._asked.get((query.id, query.question.wire))
        if server is None:
            return None
        log.warning("DNS loop: a resolver sends our own questions back; take it out of /etc/resolv.conf", resolver=server)
        return Answer(wire.SERVFAIL, authoritative=False)

    async def resolve(self, query: Query) -> Answer | None:
        servers = self._resolvers.current()
        for _ in range(ROUNDS):
            for server in servers:
                message = await self._ask(server, query)
                if message is not None:
                    return self._remembered(query, message)
        return Answer(wire.SERVFAIL, authoritative=False)

    def _remembered(self, query: Query, message: bytes) -> Answer:
        start = wire.HEADER + len(query.question.wire)
        counts = [int.from_bytes(message[at : at + 2]) for at in (6, 8, 10)]
        answer = Answer(message[3] & 0x0F, counts[0], counts[1], counts[2], message[start:], authoritative=False)
        try:
            self._cache.put(query.question, message, answer)
        except BadMessage:
            return Answer(wire.SERVFAIL, authoritative=False)
        return answer

    async def _ask(self, server: str, query: Query) -> bytes | None:
        """One try with one resolver; None when it does not answer in time, or not what was asked."""
        id_ = secrets.token_bytes(2)
        message = id_ + b"\x01\x00\x00\x01\x00\x00\x00\x00\x00\x00" + query.question.wire
        self._asked[(id_, query.question.wire)] = server
        try:
            with trio.move_on_after(TRY_S) as trying:
                found = await self._ask_udp(server, message)
            if trying.cancelled_caught:
                return None  # the next one may be there: clients wait five seconds in all
            if not found[2] & TRUNCATED:
                return found
            with trio.move_on_after(TCP_S):
                return await self._ask_tcp(server, message)
        except (OSError, BadMessage):
            return None
        finally:
            del self._asked[(id_, query.question.wire)]
        return None

    async def _ask_udp(self, server: str, message: bytes) -> bytes:
        family = trio.socket.AF_INET6 if ":" in server else trio.socket.AF_INET
        with trio.socket.socket(family, trio.socket.SOCK_DGRAM) as sock:
            await sock.connect((server, self._port))
            await sock.send(message)
            while True:
                found: bytes = await sock.recv(LARGEST)
                if _answers(found, message):
                    return found

    async def _ask_tcp(self, server: str, message: bytes) -> bytes:
        async with await trio.open_tcp_stream(server, self._port) as stream:
            await stream.send_all(len(message).to_bytes(2) + message)
            raw = b""
            while len(raw) < 2 or len(raw) < 2 + int.from_bytes(raw[:2]):
                part = await stream.receive_some()
                if not part:
                    raise BadMessage("the resolver closed the connection")
                raw += part
        if not _answers(raw[2:], message):
            raise BadMessage("the resolver answered something else")
        return raw[2 : 2 + int.from_bytes(raw[:2])]


def _answers(found: bytes, asked: bytes) -> bool:
    """Same id, an answer, to the same question (case aside)."""
    question = asked[wire.HEADER :]
    end = wire.HEADER + len(question)
    return len(found) >= end and found[:2] == asked[:2] and bool(found[2] & 0x80) and found[wire.HEADER : end].lower() == question.lower()
