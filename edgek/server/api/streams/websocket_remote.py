"""A caller of exec or attach over WebSocket, in one of the ``channel.k8s.io`` protocols."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from edgek.client.node import ExecOptions, Terminal
from edgek.client.transport import Request
from edgek.host.tls import Channel
from edgek.model.objects import Object
from edgek.server.api.streams import channels, websocket
from edgek.server.api.streams.caller import Typed, told
from edgek.server.api.streams.channels import Dialect
from edgek.server.api.streams.websocket import WebSocket


class WebSocketCaller:
    """Implements ``caller.Caller``."""

    def __init__(self, socket: WebSocket, dialect: Dialect, options: ExecOptions) -> None:
        self._socket = socket
        self._dialect = dialect
        self._typed = Typed(options, socket.ping)
        self.terminal = Terminal(self._typed.stdin, self._say, self._typed.resizes)

    async def greet(self, options: ExecOptions) -> None:
        """An empty message says that the connection stands; upstream sends it on the first channel that the server writes to."""
        await self._say(channels.STDOUT if options.stdout else channels.STDERR if options.stderr else channels.STATUS, b"")

    async def _say(self, channel: int, payload: bytes) -> None:
        await self._socket.send(self._dialect.encode(channel, payload), text=self._dialect.base64)

    async def listen(self) -> None:
        while (message := await self._socket.receive()) is not None:
            try:
                channel, payload = self._dialect.decode(message)
            except ValueError:
                await self._socket.close(1007, "not a message of this protocol")
                return
            if channel == channels.STDIN:
                await self._typed.type(payload)
            elif channel == channels.RESIZE:
                self._typed.resize(payload)
            elif channel == channels.CLOSE and self._dialect.half_closes and payload == bytes((channels.STDIN,)):
                self._typed.end_of_input()

    async def conclude(self, status: Object) -> None:
        words = told(status, as_status=self._dialect.tells_status)
        if words:
            await self._say(channels.STATUS, words)


@asynccontextmanager
async def called(channel: Channel, request: Request, dialect: Dialect, options: ExecOptions) -> AsyncIterator[WebSocketCaller]:
    async with websocket.accepted(channel, request, dialect.name) as socket:
        caller = WebSocketCaller(socket, dialect, options)
        await caller.greet(options)
        yield caller
