"""A server on a real socket with one pod on one node, whose door is played; and clients that speak WebSocket and SPDY to it."""

from __future__ import annotations

import socket
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager

import attrs
import trio
from wsproto import ConnectionType, WSConnection
from wsproto.events import AcceptConnection, BytesMessage, CloseConnection, RejectConnection, Request, TextMessage

from edgek.client.client import Client
from edgek.client.node import ContainerRef, ExecOptions, LogOptions, Terminal
from edgek.client.transport import Request as ApiRequest
from edgek.client.transport import Response
from edgek.model import errors, kinds
from edgek.server.api import http
from edgek.server.api.assembly import assemble
from edgek.server.api.authn import Authenticator
from edgek.server.api.authz import Authorizer
from edgek.server.api.local import LocalTransport
from edgek.server.api.streams import spdy
from edgek.server.api.streams.doors import Doors
from edgek.server.api.tokens import ServiceAccountTokens
from edgek.server.store.memory import MemoryBackend
from tests.server.api.running import ADMIN, TOKEN

POD = "/api/v1/namespaces/default/pods/p"

Played = Callable[[ExecOptions, Terminal], Awaitable[int]]


async def nothing(options: ExecOptions, terminal: Terminal) -> int:
    return 0


class PlayedDoor:
    """A node's door: ``played`` is the process of every exec and attach, ``log`` the log, ``dial_pod`` and ``dial`` go to ``port`` of this machine.

    ``over`` is set when an exec, an attach or a followed log was left, whichever way.
    """

    def __init__(self) -> None:
        self.played: Played = nothing
        self.log: list[bytes] = []
        self.log_error: errors.ApiError | None = None
        self.port = 0
        self.asked: list[object] = []
        self.over = trio.Event()

    async def logs(self, ref: ContainerRef, options: LogOptions) -> AsyncIterator[bytes]:
        self.asked.append((ref.container, options))
        await trio.lowlevel.checkpoint()
        if self.log_error:
            raise self.log_error
        try:
            for chunk in self.log:
                yield chunk
            if options.follow:
                await trio.sleep_forever()
        finally:
            self.over.set()

    async def exec(self, ref: ContainerRef, options: ExecOptions, terminal: Terminal) -> int:
        self.asked.append((ref.container, options))
        try:
            return await self.played(options, terminal)
        finally:
            self.over.set()

    async def attach(self, ref: ContainerRef, options: ExecOptions, terminal: Terminal) -> None:
        await self.exec(ref, options, terminal)

    async def dial_pod(self, namespace: str, pod: str, pod_uid: str, port: int) -> trio.abc.HalfCloseableStream:
        self.asked.append(port)
        if port == 1:
            raise errors.InternalError("connection refused")
        return await trio.open_tcp_stream("127.0.0.1", self.port)

    async def dial(self, host: str, port: int) -> trio.abc.HalfCloseableStream:
        self.asked.append((host, port))
        return await trio.open_tcp_stream("127.0.0.1", self.port)

    async def request(self, request: ApiRequest) -> Response:
        return Response(200, {"content-type": "text/plain"}, f"{request.method} {request.path}".encode())


@attrs.frozen
class Scene:
    port: int
    door: PlayedDoor
    client: Client

    async def connect(self) -> trio.SocketStream:
        return await trio.open_tcp_stream("127.0.0.1", self.port)

    async def get(self, path: str, method: str = "GET", body: bytes = b"", **headers: str) -> tuple[int, dict[str, str], bytes]:
        """Status, headers and the whole answer."""
        async with await self.connect() as stream:
            lines = {"host": "api.example", "authorization": f"Bearer {TOKEN}", "connection": "close", "content-length": str(len(body)), **headers}
            await stream.send_all(head(f"{method} {path}", lines) + body)
            raw = b"".join([chunk async for chunk in stream])
        start, _, content = raw.partition(b"\r\n\r\n")
        first, *rest = start.decode().split("\r\n")
        found: dict[str, str] = {}
        for name, _, value in (line.partition(": ") for line in rest):
            key = name.lower()
            found[key] = f"{found[key]}\n{value}" if key in found else value
        return int(first.split()[1]), found, unchunked(content) if "transfer-encoding" in found else content

    async def websocket(self, path: str, protocol: str = "") -> Talk:
        stream = await self.connect()
        connection = WSConnection(ConnectionType.CLIENT)
        auth = [(b"authorization", f"Bearer {TOKEN}".encode())]
        wanted = Request(host="api.example", target=path, subprotocols=[protocol] if protocol else [], extra_headers=auth)
        await stream.send_all(connection.send(wanted))
        talk = Talk(stream, connection)
        accepted = await talk.event()
        assert isinstance(accepted, AcceptConnection), accepted
        assert (accepted.subprotocol or "") == protocol
        return talk

    async def spdy(self, path: str, *protocols: str) -> SpdyTalk:
        stream = await self.connect()
        lines = {"host": "api.example", "authorization": f"Bearer {TOKEN}", "connection": "Upgrade", "upgrade": "SPDY/3.1", "content-length": "0"}
        named = "".join(f"x-stream-protocol-version: {protocol}\r\n" for protocol in protocols)
        await stream.send_all(head(f"POST {path}", lines)[:-2] + named.encode() + b"\r\n")
        received = b""
        while b"\r\n\r\n" not in received:
            received += await stream.receive_some()
        start, _, rest = received.partition(b"\r\n\r\n")
        return SpdyTalk(stream, start.decode(), rest)


def head(first: str, headers: Mapping[str, str]) -> bytes:
    lines = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
    return f"{first} HTTP/1.1\r\n{lines}\r\n".encode()


def unchunked(content: bytes) -> bytes:
    whole = b""
    while content:
        size, _, content = content.partition(b"\r\n")
        whole, content = whole + content[: int(size, 16)], content[int(size, 16) + 2 :]
    return whole


class Talk:
    """A WebSocket client. ``message`` is None once the server said goodbye."""

    def __init__(self, stream: trio.SocketStream, connection: WSConnection) -> None:
        self.stream = stream
        self._connection = connection
        self._events: list[object] = []

    async def event(self) -> object:
        while not self._events:
            self._events += self._connection.events()
            if not self._events:
                with trio.fail_after(20):
                    self._connection.receive_data(await self.stream.receive_some() or None)
        return self._events.pop(0)

    async def message(self) -> bytes | str | None:
        event = await self.event()
        assert not isinstance(event, RejectConnection)
        if isinstance(event, CloseConnection):
            return None
        assert isinstance(event, (BytesMessage, TextMessage))
        assert event.message_finished
        return bytes(event.data) if isinstance(event, BytesMessage) else event.data

    async def all(self) -> list[bytes | str]:
        """Every message up to the goodbye; those that say nothing on their channel are left out."""
        found = []
        while (message := await self.message()) is not None:
            if len(message) > 1:
                found.append(message)
        return found

    async def send(self, payload: bytes | str) -> None:
        event = BytesMessage(data=payload) if isinstance(payload, bytes) else TextMessage(data=payload)
        await self.stream.send_all(self._connection.send(event))


class SpdyTalk:
    """A SPDY client: what comes is gathered by stream."""

    def __init__(self, stream: trio.SocketStream, start: str, rest: bytes) -> None:
        self.stream = stream
        self.start = start
        self._encoder = spdy.Encoder()
        self._decoder = spdy.Decoder()
        self._frames = list(self._decoder.feed(rest))
        self.heard: dict[int, bytes] = {}
        self.ended: set[int] = set()

    async def send(self, *frames: spdy.Frame) -> None:
        await self.stream.send_all(b"".join(self._encoder.encode(frame) for frame in frames))

    async def open(self, number: int, **headers: str) -> int:
        await self.send(spdy.SynStream(number, headers))
        return number

    async def frame(self) -> spdy.Frame | None:
        """None once the server hung up."""
        while not self._frames:
            with trio.fail_after(20):
                received = await self.stream.receive_some()
            if not received:
                return None
            self._frames += self._decoder.feed(received)
        return self._frames.pop(0)

    async def until_ended(self, *streams: int) -> None:
        while not set(streams) <= self.ended:
            frame = await self.frame()
            assert frame is not None, f"hung up; ended are {self.ended}"
            if isinstance(frame, spdy.Data):
                self.heard[frame.stream] = self.heard.get(frame.stream, b"") + frame.payload
                if frame.fin:
                    self.ended.add(frame.stream)


@asynccontextmanager
async def serving() -> AsyncIterator[Scene]:
    """The pod p has the containers a and b, the init container i, the address 10.1.2.3 and the port 8080; it runs on node n."""
    backend = MemoryBackend(1000)
    tokens = ServiceAccountTokens(backend, b"", issuer="https://issuer.example")
    authenticator = Authenticator(tokens=tokens, static_tokens={TOKEN: ADMIN})
    doors, door = Doors(), PlayedDoor()
    doors.open("n", door)
    api = assemble(backend, authenticator=authenticator, authorizer=Authorizer(backend), tokens=tokens, nodes=doors)
    client = Client(LocalTransport(api, ADMIN))
    await client.create(kinds.NAMESPACE, {"metadata": {"name": "default"}})
    await client.create(kinds.SERVICE_ACCOUNT, {"metadata": {"name": "default", "namespace": "default"}})
    await client.create(kinds.NODE, {"metadata": {"name": "n"}})
    await create_pod(client, "p", ["a", "b"], ["i"])
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        async with trio.open_nursery() as nursery:
            await nursery.start(http.serve, api.handle, [listener], None)
            yield Scene(listener.getsockname()[1], door, client)
            nursery.cancel_scope.cancel()


async def create_pod(client: Client, name: str, containers: list[str], init: list[str] = [], node: str = "n") -> None:  # noqa: B006  (never changed)
    spec = {
        "containers": [{"name": c, "image": "i", "ports": [{"containerPort": 8080, "name": "web"}] if c == "a" else []} for c in containers],
        "initContainers": [{"name": c, "image": "i"} for c in init],
    }
    pod = await client.create(kinds.POD, {"metadata": {"name": name, "namespace": "default"}, "spec": {**spec, "nodeName": node}})
    await client.update(kinds.POD, {**pod, "status": {"phase": "Running", "podIP": "10.1.2.3"}}, "status")
