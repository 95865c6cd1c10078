"""Port-forward: TCP connections into a pod, over SPDY, over SPDY inside of a WebSocket, or over a WebSocket with a pair of channels for each port."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress

import attrs
import trio

from edgek.client.node import NodeDirectory, NodeDoor
from edgek.client.transport import Request
from edgek.host.tls import Channel
from edgek.model import errors, objects
from edgek.model.objects import Object
from edgek.server.api.call import Call
from edgek.server.api.responses import Answer, Cut, Upgrade
from edgek.server.api.storage import Objects
from edgek.server.api.streams import channels, pods, spdy_remote, websocket
from edgek.server.api.streams.channels import Dialect
from edgek.server.api.streams.spdy_session import GONE, SpdySession, SpdyStream
from edgek.server.api.streams.websocket import WebSocket

SPDY_PROTOCOL = "portforward.k8s.io"
TUNNEL_PROTOCOL = "SPDY/3.1+portforward.k8s.io"
CHANNEL_PROTOCOLS = ("v4.channel.k8s.io", "v4.base64.channel.k8s.io", "")
PAIR_S = 30.0  # for the second stream of a connection to come after the first; upstream's
READ_BYTES = 32 * 1024
PORTS_AT_ONCE = 100  # over channels, whose numbers are bytes
SENT_AHEAD = 32  # messages for one port that the pod has not taken

# A connection to a port of the pod. Raises ApiError.
Dial = Callable[[int], Awaitable[trio.abc.HalfCloseableStream]]


class PortForward:
    """The connector."""

    def __init__(self, store: Objects, nodes: NodeDirectory) -> None:
        self._store = store
        self._nodes = nodes

    async def __call__(self, call: Call) -> Answer:
        await trio.lowlevel.checkpoint()
        pod = pods.pod_of(call, self._store)
        dial = _dialer(self._nodes.door(pods.node_of(pod)), pod)
        request = call.request
        if not websocket.asked_for(request):
            protocol = spdy_remote.negotiated(request, (SPDY_PROTOCOL,))
            return Upgrade(lambda channel: _spoken(channel, protocol, dial))
        protocol = websocket.negotiated(request, (TUNNEL_PROTOCOL, *CHANNEL_PROTOCOLS))
        if protocol == TUNNEL_PROTOCOL:
            return Upgrade(lambda channel: _tunnelled(channel, request, dial))
        dialect, ports = channels.BY_NAME[protocol], ports_of(request)
        return Upgrade(lambda channel: _in_channels(channel, request, dialect, ports, dial))


def _dialer(door: NodeDoor, pod: Object) -> Dial:
    return lambda port: door.dial_pod(objects.namespace(pod), objects.name(pod), objects.uid(pod), port)


def ports_of(request: Request) -> list[int]:
    """``?ports=80,81`` or ``?ports=80&ports=81``. Raises BadRequest."""
    texts = [text for key, value in request.query if key in ("ports", "port") for text in value.split(",")]
    if not texts:
        raise errors.BadRequest('query parameter "ports" is required')
    if len(texts) > PORTS_AT_ONCE:
        raise errors.BadRequest(f"at most {PORTS_AT_ONCE} ports at once")
    return [_port(text) for text in texts]


def _port(text: str) -> int:
    if not text.isdecimal():
        raise errors.BadRequest(f'unable to parse "{text}" as a port')
    if not 0 < int(text) < 65536:
        raise errors.BadRequest(f'port "{text}" must be > 0 and < 65536')
    return int(text)


def failed(port: int | str, exc: errors.ApiError) -> bytes:
    """What the client is told on the error stream of a connection."""
    return f"error forwarding port {port}: {exc.message}".encode()


# --- SPDY ---------------------------------------------------------------------------------------------------------------------------------


async def _spoken(channel: Channel, protocol: str, dial: Dial) -> None:
    await channel.send_all(spdy_remote.accept_head(protocol))
    await Forwarder(dial).run(channel)


async def _tunnelled(channel: Channel, request: Request, dial: Dial) -> None:
    async with websocket.accepted(channel, request, TUNNEL_PROTOCOL) as socket:
        await Forwarder(dial).run(websocket.Tunnel(socket))


@attrs.define
class _Pair:
    """The streams of one connection, as they come."""

    data: SpdyStream | None = None
    error: SpdyStream | None = None
    whole: trio.Event = attrs.field(factory=trio.Event)


class Forwarder:
    """The connections of one SPDY session."""

    def __init__(self, dial: Dial) -> None:
        self._dial = dial
        self._pairs: dict[str, _Pair] = {}

    async def run(self, stream: trio.abc.Stream) -> None:
        """Until the client hangs up."""
        async with trio.open_nursery() as nursery:
            self._nursery = nursery
            await SpdySession(stream, self._opened).run()
            nursery.cancel_scope.cancel()

    def _opened(self, stream: SpdyStream) -> None:
        kind = stream.headers.get("streamtype", "")
        # The oldest clients number nothing: they open the error stream first, and the data stream next.
        number = stream.headers.get("requestid") or str(stream.number - 2 if kind == "data" else stream.number)
        pair = self._pairs.get(number)
        if pair is None:
            pair = self._pairs[number] = _Pair()
            self._nursery.start_soon(self._pair, number, pair)
        if kind == "data":
            pair.data = stream
        else:
            pair.error = stream
        if pair.data and pair.error:
            pair.whole.set()

    async def _pair(self, number: str, pair: _Pair) -> None:
        with trio.move_on_after(PAIR_S):
            await pair.whole.wait()
        del self._pairs[number]
        try:
            if pair.data and pair.error:
                await self._forward(pair.data, pair.error)
        except Cut:
            pass
        finally:
            for stream in (pair.data, pair.error):
                if stream is not None:
                    stream.drop()

    async def _forward(self, data: SpdyStream, error: SpdyStream) -> None:
        asked = data.headers.get("port", "")
        try:
            pod = await self._dial(_port(asked))
        except errors.ApiError as exc:
            await error.send_all(failed(asked, exc))
        else:
            async with pod, trio.open_nursery() as nursery:
                nursery.start_soon(_cancel_when_broken, data, nursery.cancel_scope)
                async with trio.open_nursery() as ways:
                    ways.start_soon(_into_pod, data, pod)
                    ways.start_soon(_out_of_pod, pod, data)
                nursery.cancel_scope.cancel()
        await data.send_eof()
        await error.send_eof()


async def _cancel_when_broken(data: SpdyStream, scope: trio.CancelScope) -> None:
    await data.wait_broken()
    scope.cancel()


async def _into_pod(data: SpdyStream, pod: trio.abc.HalfCloseableStream) -> None:
    with suppress(Cut, *GONE):
        while payload := await data.receive_some():
            await pod.send_all(payload)
        await pod.send_eof()


async def _out_of_pod(pod: trio.abc.HalfCloseableStream, data: SpdyStream) -> None:
    with suppress(Cut, *GONE):
        while payload := await pod.receive_some(READ_BYTES):
            await data.send_all(bytes(payload))
        await data.send_eof()


# --- channels -----------------------------------------------------------------------------------------------------------------------------


async def _in_channels(channel: Channel, request: Request, dialect: Dialect, ports: Sequence[int], dial: Dial) -> None:
    """One connection for each port, made at once; the i-th has the channels 2i for data and 2i+1 for an error."""
    async with websocket.accepted(channel, request, dialect.name) as socket, trio.open_nursery() as nursery:
        inputs = []
        async with trio.open_nursery() as forwards:
            for index, port in enumerate(ports):
                typed, taken = trio.open_memory_channel[bytes](SENT_AHEAD)
                inputs.append(typed)
                for number in (2 * index, 2 * index + 1):
                    await socket.send(dialect.encode(number, port.to_bytes(2, "little")), text=dialect.base64)
                forwards.start_soon(_channel_pair, _Said(socket, dialect, 2 * index), port, dial, taken)
            nursery.start_soon(_distribute, socket, dialect, inputs, nursery.cancel_scope)
        nursery.cancel_scope.cancel()


@attrs.frozen
class _Said:
    socket: WebSocket
    dialect: Dialect
    data: int

    async def send(self, payload: bytes, *, error: bool = False) -> None:
        await self.socket.send(self.dialect.encode(self.data + error, payload), text=self.dialect.base64)


async def _distribute(socket: WebSocket, dialect: Dialect, inputs: Sequence[trio.MemorySendChannel[bytes]], scope: trio.CancelScope) -> None:
    while (message := await socket.receive()) is not None:
        try:
            number, payload = dialect.decode(message)
        except ValueError:
            break
        if number % 2 == 0 and number // 2 < len(inputs):
            with suppress(trio.BrokenResourceError):
                await inputs[number // 2].send(payload)
    scope.cancel()


async def _channel_pair(said: _Said, port: int, dial: Dial, typed: trio.MemoryReceiveChannel[bytes]) -> None:
    with typed, suppress(Cut):
        try:
            pod = await dial(port)
        except errors.ApiError as exc:
            await said.send(failed(port, exc), error=True)
            return
        async with pod, trio.open_nursery() as nursery:
            nursery.start_soon(_typed_into_pod, typed, pod)
            with suppress(Cut, *GONE):
                while payload := await pod.receive_some(READ_BYTES):
                    await said.send(bytes(payload))
            nursery.cancel_scope.cancel()


async def _typed_into_pod(typed: trio.MemoryReceiveChannel[bytes], pod: trio.abc.HalfCloseableStream) -> None:
    with suppress(*GONE):
        async for payload in typed:
            await pod.send_all(payload)
