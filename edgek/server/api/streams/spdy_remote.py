"""A caller of exec or attach over SPDY/3.1: one stream for each of stdin, stdout, stderr, the end's status, and the sizes of the window."""

from __future__ import annotations

import math
import re
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

import trio

from edgek.client.node import ExecOptions, Terminal
from edgek.client.transport import Request
from edgek.model import errors
from edgek.model.objects import Object
from edgek.server.api.responses import Cut
from edgek.server.api.streams.caller import Typed, told
from edgek.server.api.streams.spdy import Data
from edgek.server.api.streams.spdy_session import SpdySession, SpdyStream

PROTOCOLS = ("v4.channel.k8s.io", "v3.channel.k8s.io", "v2.channel.k8s.io", "channel.k8s.io")
STREAMS_S = 30.0  # for the client to open all of its streams; upstream's
RESIZE_BYTES = 4096  # without a whole size among them: it sends something else


def asked_for(request: Request) -> bool:
    return "spdy/3.1" in request.headers.get("upgrade", "").lower() and "upgrade" in request.headers.get("connection", "").lower()


def negotiated(request: Request, known: Sequence[str] = PROTOCOLS) -> str:
    """The first of the client's protocols that we know; empty where it names none, as the oldest did. Raises BadRequest, Forbidden."""
    if not asked_for(request):
        raise errors.BadRequest("Upgrade request required")
    offered = [word.strip() for word in re.split(r"[\n,]", request.headers.get("x-stream-protocol-version", "")) if word.strip()]
    for protocol in offered:
        if protocol in known:
            return protocol
    if offered:
        raise errors.Forbidden(
            f"unable to upgrade: unable to negotiate protocol: client supports [{' '.join(offered)}], server accepts [{' '.join(known)}]"
        )
    return ""


def accept_head(protocol: str) -> bytes:
    chosen = f"x-stream-protocol-version: {protocol}\r\n" if protocol else ""
    return f"HTTP/1.1 101 Switching Protocols\r\nconnection: Upgrade\r\nupgrade: SPDY/3.1\r\n{chosen}\r\n".encode()


class SpdyCaller:
    """Implements ``caller.Caller``. ``streams`` by their type, all that the options ask for."""

    def __init__(self, session: SpdySession, protocol: str, streams: dict[str, SpdyStream], options: ExecOptions) -> None:
        self._session = session
        self._protocol = protocol
        self._streams = streams
        self._typed = Typed(options, self._probe)
        self.terminal = Terminal(self._typed.stdin, self._say, self._typed.resizes)

    async def _say(self, channel: int, payload: bytes) -> None:
        stream = self._streams.get("stdout" if channel == 1 else "stderr")
        if stream is not None:
            await stream.send_all(payload)

    async def _probe(self) -> None:
        """No ping: the library of the clients answers it in the order of what it sends, and would read nothing more until then."""
        await self._session.send(Data(self._streams["error"].number, b""))

    async def listen(self) -> None:
        """That the client hangs up is noticed by the session."""
        async with trio.open_nursery() as nursery:
            if "stdin" in self._streams:
                nursery.start_soon(self._type, self._streams["stdin"])
            if "resize" in self._streams:
                nursery.start_soon(self._resize, self._streams["resize"])
            await trio.sleep_forever()

    async def _type(self, stream: SpdyStream) -> None:
        try:
            while payload := await stream.receive_some():
                await self._typed.type(payload)
        except Cut:
            pass
        self._typed.end_of_input()

    async def _resize(self, stream: SpdyStream) -> None:
        """JSON objects, one after the other: flat ones, so each ends with the first brace."""
        text = b""
        try:
            while payload := await stream.receive_some():
                *sizes, text = (text + payload).split(b"}")
                for size in sizes:
                    self._typed.resize(size + b"}")
                text = text[-RESIZE_BYTES:]
        except Cut:
            pass

    async def conclude(self, status: Object) -> None:
        await self._streams["error"].send_all(told(status, as_status=self._protocol.startswith("v4")))
        for stream in self._streams.values():
            await stream.send_eof()


@asynccontextmanager
async def called(channel: trio.abc.Stream, protocol: str, options: ExecOptions) -> AsyncIterator[SpdyCaller]:
    """The block begins when the client has opened its streams. ``Cut``, its sudden end, ends the block quietly."""
    await channel.send_all(accept_head(protocol))
    wanted = _wanted(protocol, options)
    arrived, opened = trio.open_memory_channel[SpdyStream](math.inf)
    session = SpdySession(channel, arrived.send_nowait)
    try:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(_run, session, nursery.cancel_scope)
            streams: dict[str, SpdyStream] = {}
            with trio.fail_after(STREAMS_S):
                while not wanted <= set(streams):
                    stream = await opened.receive()
                    streams[stream.headers.get("streamtype", "")] = stream
            yield SpdyCaller(session, protocol, streams, options)
            session.finish()
    except* (Cut, trio.TooSlowError):
        pass


async def _run(session: SpdySession, scope: trio.CancelScope) -> None:
    await session.run()
    scope.cancel()


def _wanted(protocol: str, options: ExecOptions) -> set[str]:
    """The types of the streams that the client opens."""
    wanted = {"error"}
    wanted |= {name for name in ("stdin", "stdout", "stderr") if getattr(options, name)}
    if options.tty and protocol.startswith(("v3", "v4")):
        wanted.add("resize")
    return wanted
