"""WebSocket (RFC 6455) on a connection that HTTP handed over. Frames are wsproto's work, which is loaded with the first connection."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from typing import TYPE_CHECKING

import trio

from edgek.client.transport import Request
from edgek.model import errors
from edgek.server.api.responses import Cut

if TYPE_CHECKING:
    from wsproto.frame_protocol import FrameProtocol

MESSAGE_LIMIT = 4 * 1024 * 1024  # bytes of one message; clients send some 32 KB
FAREWELL_S = 2.0  # for the other side to say goodbye, too: it may still be reading what we said
_ACCEPT_SALT = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"


def asked_for(request: Request) -> bool:
    return "websocket" in request.headers.get("upgrade", "").lower() and "upgrade" in request.headers.get("connection", "").lower()


def negotiated(request: Request, known: Sequence[str]) -> str:
    """The first protocol of the client's that we know; empty where it names none. Raises BadRequest."""
    offered = [word.strip() for word in request.headers.get("sec-websocket-protocol", "").replace("\n", ",").split(",") if word.strip()]
    if request.headers.get("sec-websocket-version", "13") != "13" or not request.headers.get("sec-websocket-key"):
        raise errors.BadRequest("websocket: only version 13 is spoken here, and it needs a Sec-WebSocket-Key")
    for protocol in offered or ("",):
        if protocol in known:
            return protocol
    raise errors.BadRequest(f"websocket: none of the subprotocols {offered} is spoken here; choose one of {[name for name in known if name]}")


def accept_head(request: Request, protocol: str) -> bytes:
    """The 101 that begins the conversation."""
    key = request.headers["sec-websocket-key"].encode()
    proof = base64.b64encode(hashlib.sha1(key + _ACCEPT_SALT, usedforsecurity=False).digest()).decode()
    chosen = f"sec-websocket-protocol: {protocol}\r\n" if protocol else ""
    head = f"HTTP/1.1 101 Switching Protocols\r\nupgrade: websocket\r\nconnection: Upgrade\r\nsec-websocket-accept: {proof}\r\n{chosen}\r\n"
    return head.encode()


class WebSocket:
    """The server's end. Any task may send; one task receives, and answers pings meanwhile."""

    def __init__(self, stream: trio.abc.Stream) -> None:
        from wsproto.frame_protocol import FrameProtocol

        self._stream = stream
        self._frames: FrameProtocol = FrameProtocol(client=False, extensions=[])
        self._sending = trio.StrictFIFOLock()
        self._message: list[bytes] = []
        self._message_bytes = 0
        self._closed = False  # by us
        self._ended = False  # by the other side

    async def send(self, payload: bytes, *, text: bool = False) -> None:
        """One message. Waits while the reader is slow. Raises Cut once it is gone."""
        async with self._sending:
            if self._closed:
                raise Cut
            await self._put(self._frames.send_data(payload.decode("latin-1") if text else payload, fin=True))

    async def _put(self, data: bytes | bytearray) -> None:
        try:
            await self._stream.send_all(data)
        except (OSError, trio.BrokenResourceError, trio.ClosedResourceError):
            self._ended = self._closed = True
            raise Cut from None

    async def receive(self) -> bytes | None:
        """The next message, of text as its UTF-8; None once the other side closed or is gone."""
        from wsproto.frame_protocol import Opcode, ParseFailed

        while not self._ended:
            try:
                for frame in self._frames.received_frames():
                    match frame.opcode:
                        case Opcode.PING:
                            await self._answer(self._frames.pong(_bytes(frame.payload)))
                        case Opcode.PONG:
                            pass
                        case Opcode.CLOSE:
                            self._ended = True
                            await self.close()
                            return None
                        case _:
                            message = await self._gathered(_bytes(frame.payload), whole=frame.message_finished)
                            if message is not None:
                                return message
                await self._read()
            except ParseFailed as exc:
                self._ended = True
                await self.close(exc.code, str(exc))
            except Cut:
                self._ended = True
        return None

    async def _gathered(self, payload: bytes, *, whole: bool) -> bytes | None:
        if payload:
            self._message.append(payload)
        self._message_bytes += len(payload)
        if self._message_bytes > MESSAGE_LIMIT:
            await self.close(1009, f"a message may have {MESSAGE_LIMIT} bytes")
            raise Cut
        if not whole:
            return None
        message = b"".join(self._message)
        self._message.clear()
        self._message_bytes = 0
        return message

    async def _read(self) -> None:
        try:
            data = await self._stream.receive_some()
        except (OSError, trio.BrokenResourceError, trio.ClosedResourceError):
            data = b""
        if not data:
            raise Cut
        self._frames.receive_bytes(bytes(data))

    async def _answer(self, data: bytes | bytearray) -> None:
        async with self._sending:
            if not self._closed:
                await self._put(data)

    async def ping(self) -> None:
        """Raises Cut."""
        await self._answer(self._frames.ping(b""))

    async def close(self, code: int = 1000, reason: str = "") -> None:
        """Say goodbye, once. The other side may still speak."""
        async with self._sending:
            if self._closed:
                return
            self._closed = True
            with suppress(Cut):
                await self._put(self._frames.close(code, reason[:100]))

    async def part(self) -> None:
        """Say goodbye and hear the other side's."""
        with trio.move_on_after(FAREWELL_S):
            await self.close()
            while await self.receive() is not None:
                pass


class Tunnel(trio.abc.Stream):
    """A stream of bytes inside of a WebSocket. What the other side sends is one stream, however it cuts it."""

    def __init__(self, socket: WebSocket) -> None:
        self._socket = socket

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        """Raises BrokenResourceError."""
        try:
            await self._socket.send(bytes(data))
        except Cut:
            raise trio.BrokenResourceError("the WebSocket is closed") from None

    async def wait_send_all_might_not_block(self) -> None:
        await trio.lowlevel.checkpoint()

    async def receive_some(self, max_bytes: int | None = None) -> bytes:
        """A message that says nothing is not the end."""
        while True:
            message = await self._socket.receive()
            if message != b"":
                return message or b""

    async def aclose(self) -> None:
        await self._socket.close()


def _bytes(payload: object) -> bytes:
    """wsproto gives a frame's payload as text, bytes or a bytearray."""
    return payload.encode() if isinstance(payload, str) else bytes(payload) if isinstance(payload, (bytes, bytearray)) else b""


@asynccontextmanager
async def accepted(stream: trio.abc.Stream, request: Request, protocol: str) -> AsyncIterator[WebSocket]:
    """Answer with the 101 and talk; the end of the block is a farewell in order. ``Cut``, the other side's sudden end, ends the block quietly."""
    await stream.send_all(accept_head(request, protocol))
    socket = WebSocket(stream)
    try:
        yield socket
    except* Cut:
        pass
    await socket.part()
