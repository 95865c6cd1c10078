"""The API over HTTPS: a Transport for agents, and for commands that talk to a server elsewhere.

A few connections are kept open and used again; each stream has one of its own. Authentication is a client certificate in the TLS context, or a
bearer token. A stale connection is noticed when it fails before a single byte of the answer came, and the request is then sent once more.
"""

from __future__ import annotations

import ssl
from collections import deque
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Protocol
from urllib.parse import quote, urlencode

import attrs
import httptools
import trio

from edgek.client.transport import Disconnected, Request, Response, lines_of
from edgek.host import tls

KEPT = 4  # idle connections
CONNECT_S = 10.0
ANSWER_S = 60.0  # a whole answer; a stream has no limit


class Trust(Protocol):
    """Whom to believe, where that may change: ``context`` is asked for before each connection, and its certificate (DER) is judged."""

    @property
    def context(self) -> ssl.SSLContext: ...

    def judge(self, certificate: bytes) -> None:
        """Raises ssl.SSLCertVerificationError."""
        ...


@attrs.frozen
class Server:
    """``token`` is read for every request, so that a renewed one is used at once. ``name`` is what its certificate must bear, if not ``host``."""

    host: str
    port: int
    trust: ssl.SSLContext | Trust
    token: Callable[[], str] | None = None
    name: str = ""

    async def dial(self) -> tls.Channel:
        """Raises Disconnected, whose cause is the OSError."""
        trust = self.trust
        try:
            with trio.fail_after(CONNECT_S):
                if isinstance(trust, ssl.SSLContext):
                    return await tls.dial(self.host, self.port, trust, name=self.name)
                return _judged(await tls.dial(self.host, self.port, trust.context, name=self.name), trust)
        except ssl.SSLCertVerificationError as exc:
            raise Disconnected(f"cannot reach {self}: {_why_not_believed(exc)}") from exc
        except (OSError, trio.TooSlowError) as exc:
            raise Disconnected(f"cannot reach {self}: {_plainly(exc) or 'no answer'}") from exc

    def __str__(self) -> str:
        return f"{self.host}:{self.port}"


def _plainly(error: Exception) -> str:
    if isinstance(error, ssl.SSLError) and error.reason == "WRONG_VERSION_NUMBER":
        return "what listens there does not speak TLS; is it the right port?"
    return str(error)


def _why_not_believed(error: ssl.SSLCertVerificationError) -> str:
    said = getattr(error, "verify_message", "")  # OpenSSL's; not there where a Trust refused
    if not said:
        return str(error.strerror or error)
    if error.verify_code in tls.OUT_OF_TIME:
        return f"{said}, by this machine's clock: set it, or the server's"
    return (
        f"it holds no certificate of this cluster ({said}): it was set up anew (then join it by its new token, --token), "
        "or somebody stands between. Nothing was sent"
    )


def _judged(channel: tls.Channel, trust: Trust) -> tls.Channel:
    """Raises ssl.SSLCertVerificationError."""
    try:
        trust.judge(channel.peer_certificate() or b"")
    except ssl.SSLCertVerificationError:
        channel.close()
        raise
    return channel


class Choice:
    """The servers of one cluster, of which the one that answered last is asked next. All who dial from here share one, to learn from each other."""

    def __init__(self, *servers: Server) -> None:
        self._servers = deque(servers)

    @property
    def current(self) -> Server:
        return self._servers[0]

    def __len__(self) -> int:
        return len(self._servers)

    def failed(self, server: Server) -> None:
        """The next one's turn, unless somebody has seen to that already."""
        if self._servers[0] == server:
            self._servers.rotate(-1)

    def learn(self, servers: Sequence[Server]) -> None:
        """These are the servers now. The current one stays first where it is among them."""
        current = self._servers[0]
        self._servers = deque(servers)
        if current in self._servers:
            self._servers.rotate(-self._servers.index(current))


class HttpsTransport:
    """See ``client.transport.Transport``. ``close`` drops idle connections; it may be used again afterwards."""

    def __init__(self, server: Server | Choice) -> None:
        self._choice = server if isinstance(server, Choice) else Choice(server)
        self._idle: deque[tls.Channel] = deque()
        self._streams: set[tls.Channel] = set()
        self._turn = 0  # which it is, by how often we were told to hang up

    async def request(self, request: Request) -> Response:
        with trio.move_on_after(ANSWER_S):
            return await self._request(request)
        raise Disconnected(f"{self._server.host}:{self._server.port} did not answer within {ANSWER_S:.0f} s")

    async def _request(self, request: Request) -> Response:
        while self._idle:
            channel = self._idle.pop()
            try:
                return await self._exchange(channel, request)
            except _Stale:
                continue
        try:
            return await self._exchange(await self._connect(), request)
        except _Stale as exc:
            raise Disconnected(f"{self._server.host}:{self._server.port} hung up") from exc

    @asynccontextmanager
    async def stream(self, request: Request) -> AsyncIterator[HttpsStream]:
        turn = self._turn
        channel = await self._connect()
        self._streams.add(channel)
        try:
            if turn != self._turn:
                raise Disconnected("there is a better way now")
            with _disconnected(self._server):
                await channel.send_all(self._encoded(request))
            answer = _Incoming(channel)
            with _disconnected(self._server):
                await answer.head()
            yield HttpsStream(answer, self._server)
        finally:
            self._streams.discard(channel)
            channel.close()

    def hang_up(self) -> None:
        """There is a better way now: idle connections go, and streams break, so that whoever reads them takes that way."""
        self._turn += 1
        self.close()
        for channel in list(self._streams):
            channel.close()

    def close(self) -> None:
        while self._idle:
            self._idle.pop().close()

    @property
    def _server(self) -> Server:
        return self._choice.current

    async def _connect(self) -> tls.Channel:
        """To the server that answered last, or else to the next one that does."""
        for left in range(len(self._choice) - 1, -1, -1):
            server = self._server
            try:
                return await server.dial()
            except Disconnected:
                self._choice.failed(server)
                if not left:
                    raise
        raise Disconnected("there is no server to ask")

    async def _exchange(self, channel: tls.Channel, request: Request) -> Response:
        """Raises ``_Stale`` when nothing at all came back."""
        answer, turn = _Incoming(channel), self._turn
        kept = False
        try:
            try:
                await channel.send_all(self._encoded(request))
                await answer.head()
            except (OSError, trio.ClosedResourceError) as exc:
                raise _Stale from exc
            with _disconnected(self._server):
                body = b"".join([chunk async for chunk in answer.body()])
            if answer.reusable and turn == self._turn and len(self._idle) < KEPT:
                self._idle.append(channel)
                kept = True
            return Response(answer.status, answer.headers, body)
        finally:
            if not kept:
                channel.close()

    def _encoded(self, request: Request) -> bytes:
        target = quote(request.path, safe="/:@!$&'()*+,;=~")
        if request.query:
            target += "?" + urlencode(request.query)
        headers = dict(request.headers)
        headers.setdefault("host", f"{self._server.host}:{self._server.port}")
        if self._server.token is not None:
            headers["authorization"] = f"Bearer {self._server.token()}"
        if request.body or request.method in ("POST", "PUT", "PATCH"):
            headers["content-length"] = str(len(request.body))
        lines = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
        return f"{request.method} {target} HTTP/1.1\r\n{lines}\r\n".encode("latin-1") + request.body


class _Stale(Exception):
    """An idle connection turned out to be dead: nothing was answered."""


class _disconnected:  # noqa: N801 -- used as a context manager, like a function
    """A broken way becomes ``Disconnected``."""

    def __init__(self, server: Server) -> None:
        self._server = server

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: type[BaseException] | None, exc: BaseException | None, traceback: object) -> None:
        if isinstance(exc, (OSError, trio.ClosedResourceError, httptools.HttpParserError)):
            raise Disconnected(f"{self._server.host}:{self._server.port} broke off: {exc}") from exc


class _Incoming:
    """An answer on its way in."""

    def __init__(self, channel: tls.Channel) -> None:
        self._channel = channel
        self._parser = httptools.HttpResponseParser(self)
        self._chunks: deque[bytes] = deque()
        self._has_head = False
        self._ended = False
        self.headers: dict[str, str] = {}
        self.status = 0
        self.reusable = False

    def on_header(self, name: bytes, value: bytes) -> None:
        key, text = name.decode("latin-1").lower(), value.decode("latin-1")
        self.headers[key] = f"{self.headers[key]}\n{text}" if key in self.headers else text

    def on_headers_complete(self) -> None:
        self.status = self._parser.get_status_code()
        self._has_head = True

    def on_body(self, body: bytes) -> None:
        self._chunks.append(body)

    def on_message_complete(self) -> None:
        self._ended = True
        self.reusable = self._parser.should_keep_alive()

    async def _feed(self) -> None:
        await trio.lowlevel.checkpoint()
        read = await self._channel.receive_some()
        if not read:
            raise ConnectionResetError("the connection ended")
        self._parser.feed_data(read)

    async def head(self) -> None:
        while not self._has_head:
            await self._feed()

    async def body(self) -> AsyncIterator[bytes]:
        while True:
            while self._chunks:
                yield self._chunks.popleft()
            if self._ended:
                return
            await self._feed()


class HttpsStream:
    """See ``client.transport.StreamResponse``."""

    def __init__(self, answer: _Incoming, server: Server) -> None:
        self._answer = answer
        self._server = server

    @property
    def status(self) -> int:
        return self._answer.status

    @property
    def headers(self) -> Mapping[str, str]:
        return self._answer.headers

    async def read(self) -> bytes:
        return b"".join([chunk async for chunk in self.chunks()])

    async def chunks(self) -> AsyncIterator[bytes]:
        with _disconnected(self._server):
            async for chunk in self._answer.body():
                yield chunk

    def lines(self) -> AsyncIterator[bytes]:
        return lines_of(self.chunks())
