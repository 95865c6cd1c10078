"""Attach to a container's first process, by way of containerd's streaming server.

Its output goes to containerd's own reader (the log), so there is no FIFO for us. Over WebSocket stdin cannot be half-closed; therefore stdin has a
connection of its own, and closing that one is the end of input, while output goes on over the other.

Both ask for stdin and for output: a connection that does not ask for stdin reads as an end of input at once, which closes the stdin of a container
with ``stdinOnce``; one that does not ask for output ends at once.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import orjson
import trio

from edgek.agent.runtime.exec_process import Streams, one_error
from edgek.agent.runtime.messages_cri import ATTACH
from edgek.host.rpc import Channel, RpcError

if TYPE_CHECKING:
    from wsproto import WSConnection

PROTOCOL = "v4.channel.k8s.io"
STDIN, STDOUT, STDERR, FAILURE, RESIZE = range(5)
CHUNK_BYTES = 64 * 1024
CONNECT_S = 30.0


async def run(channel: Channel, container_id: str, streams: Streams) -> None:
    """Until the container ends. Raises RpcError when it cannot be attached to."""
    async with await _open(channel, container_id, tty=streams.tty) as output:
        with one_error():
            async with trio.open_nursery() as inputs:
                if streams.stdin is not None:
                    speech = await _open(channel, container_id, tty=streams.tty)
                    inputs.start_soon(_speak, speech, streams.stdin)
                if streams.resizes is not None:
                    inputs.start_soon(_resize, output, streams.resizes)
                await _listen(output, streams)
                inputs.cancel_scope.cancel()


async def _open(channel: Channel, container_id: str, *, tty: bool) -> _Socket:
    wanted = {"container_id": container_id, "stdin": True, "tty": tty, "stdout": True, "stderr": not tty}
    answer = await channel.call(ATTACH, wanted, timeout_s=CONNECT_S)
    with trio.fail_after(CONNECT_S):
        return await _Socket.open(answer["url"])


async def _speak(speech: _Socket, stdin: AsyncIterator[bytes]) -> None:
    async with speech, trio.open_nursery() as nursery:
        nursery.start_soon(_discard, speech)
        async for chunk in stdin:
            for at in range(0, len(chunk), CHUNK_BYTES):
                await speech.send(STDIN, chunk[at : at + CHUNK_BYTES])
        nursery.cancel_scope.cancel()


async def _discard(speech: _Socket) -> None:
    async for _ in speech.messages():
        pass


async def _resize(output: _Socket, resizes: AsyncIterator[tuple[int, int]]) -> None:
    async for columns, rows in resizes:
        await output.send(RESIZE, orjson.dumps({"Width": columns, "Height": rows}))


async def _listen(output: _Socket, streams: Streams) -> None:
    targets = {STDOUT: streams.stdout, STDERR: streams.stdout if streams.tty else streams.stderr}
    async for number, content in output.messages():
        target = targets.get(number)
        if target is not None and content:
            await target.send_all(content)


class _Socket:
    """A WebSocket of numbered channels. ``async with`` closes it in order: the other side reads an end, not a break."""

    def __init__(self, stream: trio.SocketStream, connection: WSConnection) -> None:
        self._stream = stream
        self._connection = connection

    @classmethod
    async def open(cls, url: str) -> _Socket:
        from wsproto import ConnectionType, WSConnection
        from wsproto.events import AcceptConnection, RejectConnection, Request

        parts = urlsplit(url)
        stream = await trio.open_tcp_stream(parts.hostname or "127.0.0.1", parts.port or 80)
        connection = WSConnection(ConnectionType.CLIENT)
        await stream.send_all(connection.send(Request(host=parts.netloc, target=f"{parts.path}?{parts.query}", subprotocols=[PROTOCOL])))
        while True:
            connection.receive_data(await stream.receive_some(CHUNK_BYTES) or None)
            # Only the first event: what follows in the same packet is for ``messages``.
            event = next(iter(connection.events()), None)
            if isinstance(event, AcceptConnection):
                return cls(stream, connection)
            if isinstance(event, RejectConnection):
                await stream.aclose()
                raise RpcError("UNKNOWN", f"containerd's streaming server refused to attach: {event.status_code}")
            if event is not None:
                await stream.aclose()
                raise RpcError("UNKNOWN", "containerd's streaming server closed the connection")

    async def send(self, number: int, content: bytes) -> None:
        from wsproto.events import BytesMessage

        await self._stream.send_all(self._connection.send(BytesMessage(data=bytes((number,)) + content)))

    async def messages(self) -> AsyncIterator[tuple[int, bytes]]:
        """``(channel, content)`` until the other side closes."""
        from wsproto.events import BytesMessage, CloseConnection, Ping

        buffer = bytearray()
        while True:
            for event in self._connection.events():
                if isinstance(event, BytesMessage):
                    buffer += event.data
                    if event.message_finished:
                        yield buffer[0], bytes(buffer[1:])
                        buffer.clear()
                elif isinstance(event, Ping):
                    await self._stream.send_all(self._connection.send(event.response()))
                elif isinstance(event, CloseConnection):
                    return
            try:
                self._connection.receive_data(await self._stream.receive_some(CHUNK_BYTES) or None)
            except trio.BrokenResourceError:
                return

    async def __aenter__(self) -> _Socket:
        return self

    async def __aexit__(self, *_: object) -> None:
        from wsproto.connection import ConnectionState
        from wsproto.events import CloseConnection

        with trio.move_on_after(1, shield=True):
            try:
                if self._connection.state is ConnectionState.OPEN:
                    await self._stream.send_all(self._connection.send(CloseConnection(code=1000)))
            except trio.BrokenResourceError:
                pass  # the other side was quicker
        await self._stream.aclose()
